// Command refsink is an independent judge of the legacy Mesh Configuration Protocol: it lets the sink of Istio 1.6.14, the
// very code that a Pilot runs, hold the conversation, and looks at every message on the way. What it knows of Chandler is
// one rule: how a collection's version follows from what is in it.
//
// Every subcommand writes one JSON object per line to standard output and its complaints to standard error; instructions
// are lines on standard input.
// Exit codes: 0 it was told to stop; 1 the other side failed it; 2 it was called wrongly.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"istio.io/pkg/log"
)

var commands = map[string]func(context.Context, []string) error{
	"pull":   runPull,   // sinks that dial a source, as Pilot does
	"listen": runListen, // a sink that a source dials
	"serve":  runServe,  // the reference source, to try the judge without Chandler
}

// errUsage marks mistakes of the caller: exit code 2.
var errUsage = errors.New("called wrongly")

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: refsink pull|listen|serve [flags]; refsink pull -h lists the flags")
		os.Exit(2)
	}
	// The sink's own words: not among our lines.
	logging := log.DefaultOptions()
	logging.OutputPaths = []string{"stderr"}
	if err := log.Configure(logging); err != nil {
		fmt.Fprintln(os.Stderr, "refsink:", err)
		os.Exit(1)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	go func() {
		<-signals
		cancel()
	}()
	err := commands[os.Args[1]](ctx, os.Args[2:])
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "refsink "+os.Args[1]+":", err)
	if errors.Is(err, errUsage) {
		os.Exit(2)
	}
	os.Exit(1)
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
