package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"time"
)

// A backend says who it is: HTTP answers JSON, TCP answers each line with "NAME PORT LINE". Over TCP the client
// speaks first, so that a proxy that sniffs the protocol has something to look at.
func runBackend(ctx context.Context, args []string) error {
	var listen list
	flags := flag.NewFlagSet("backend", flag.ContinueOnError)
	flags.Var(&listen, "listen", "addresses to listen on")
	name := flags.String("name", "backend", "what it calls itself")
	overTCP := flags.Bool("tcp", false, "lines over TCP in place of HTTP")
	if err := parse(flags, args); err != nil {
		return err
	}
	if len(listen) == 0 {
		return fmt.Errorf("%w: -listen is missing", errUsage)
	}
	addresses, failed := []string{}, make(chan error, len(listen))
	for _, address := range listen {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		addresses = append(addresses, listener.Addr().String())
		port := listener.Addr().(*net.TCPAddr).Port
		if *overTCP {
			go func() { failed <- serveLines(listener, *name, port) }()
		} else {
			go func() { failed <- serve(ctx, sayWho(*name, port), listener) }()
		}
	}
	out.emit(event{"event": "ready", "name": *name, "addresses": addresses})
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

func sayWho(name string, port int) *http.Server {
	return &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			reply(w, http.StatusOK, map[string]any{
				"name": name, "port": port, "host": r.Host, "path": r.URL.Path, "protocol": r.Proto,
			})
		}),
	}
}

func serveLines(listener net.Listener, name string, port int) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			lines := bufio.NewScanner(conn)
			for lines.Scan() {
				if _, err := fmt.Fprintf(conn, "%s %d %s\n", name, port, lines.Text()); err != nil {
					return
				}
			}
		}()
	}
}
