package main

import (
	"flag"
	"fmt"
	"strings"
	"time"
)

// list is a flag of comma-separated values that may be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(value string) error {
	for _, part := range strings.Split(value, ",") {
		if part != "" {
			*l = append(*l, part)
		}
	}
	return nil
}

// pairs is a flag of comma-separated key=value items.
type pairs map[string]string

func (p pairs) String() string { return "" }

func (p pairs) Set(value string) error {
	for _, part := range strings.Split(value, ",") {
		if part == "" {
			continue
		}
		key, val, found := strings.Cut(part, "=")
		if !found {
			return fmt.Errorf("%q is not key=value", part)
		}
		p[key] = val
	}
	return nil
}

// parse reads the flags; the flag package has then already said what was wrong.
func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return errUsage
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%w: %q is not a flag", errUsage, flags.Arg(0))
	}
	return nil
}

// streamFlags are what every xDS client here takes.
type streamFlags struct {
	server  string
	count   int
	timeout time.Duration
	maxMsg  int
}

func (s *streamFlags) register(flags *flag.FlagSet) {
	flags.StringVar(&s.server, "server", "", "HOST:PORT, plaintext")
	flags.IntVar(&s.count, "count", 0, "end well after this many responses; 0: go on until stopped")
	flags.DurationVar(&s.timeout, "timeout", 0, "end after this time: well if -count is 0, else as a failure; 0: never")
	flags.IntVar(&s.maxMsg, "max-msg", 1<<31-1, "largest message that is accepted")
}
