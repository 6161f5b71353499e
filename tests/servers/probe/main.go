// Command probe is what the tests look at Chandler with: an xDS client that shares no code with it, a sidecar-like
// client for istiod, and the small servers that stand in for what a test does not want to run whole.
//
// Every subcommand writes one JSON object per line to standard output and its complaints to standard error.
// Exit codes: 0 it did what was asked or was told to stop; 1 the other side failed it; 2 it was called wrongly.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sort"
	"strings"
	"syscall"
)

var commands = map[string]struct {
	run  func(context.Context, []string) error
	does string
}{
	"sotw":           {runSotw, "ask a server as istiod does, state of the world"},
	"delta":          {runDelta, "ask a server over delta ADS"},
	"garbage":        {runGarbage, "send bytes that are no request, and tell how the stream ends"},
	"sidecar":        {runSidecar, "ask an istiod as a sidecar does"},
	"fake-ads":       {runFakeADS, "serve one ServiceEntry and nothing else, to try the tools without Chandler"},
	"stub-apiserver": {runStubAPIServer, "an empty Kubernetes API, enough for istiod to start"},
	"backend":        {runBackend, "HTTP or TCP servers that say who they are"},
	"http":           {runBackend, "the same"},
	"call":           {runCall, "one call or a stream of them, HTTP or TCP"},
}

// errUsage marks mistakes of the caller: exit code 2.
var errUsage = errors.New("called wrongly")

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]].run == nil {
		fmt.Fprintln(os.Stderr, usage())
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	err := commands[os.Args[1]].run(ctx, os.Args[2:])
	switch {
	case err == nil:
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "probe "+os.Args[1]+":", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "probe "+os.Args[1]+":", err)
		os.Exit(1)
	}
}

func usage() string {
	lines := []string{"usage: probe COMMAND [flags]; probe COMMAND -h lists the flags"}
	for name, command := range commands {
		lines = append(lines, fmt.Sprintf("  %-15s %s", name, command.does))
	}
	sort.Strings(lines[1:])
	return strings.Join(lines, "\n")
}
