package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

type callFlags struct {
	url, connect, host, method, body, dns string
	tcp                                   bool
	every, timeout                        time.Duration
	headers                               pairs
}

// runCall makes one call, or one after another, and writes a line for each: what answered or what went wrong.
// It exists because a test's own process cannot enter a network namespace.
func runCall(ctx context.Context, args []string) error {
	f := callFlags{headers: pairs{}}
	flags := flag.NewFlagSet("call", flag.ContinueOnError)
	flags.StringVar(&f.url, "url", "", "http://… to get")
	flags.StringVar(&f.connect, "connect", "", "HOST:PORT to connect to whatever the URL says; with -tcp the only address")
	flags.StringVar(&f.dns, "dns", "", "HOST:PORT of the DNS server that resolves the URL's host, anew for each call; absent: this machine's own way")
	flags.StringVar(&f.host, "host", "", "Host header, where it differs from the URL's")
	flags.StringVar(&f.method, "method", http.MethodGet, "HTTP method")
	flags.StringVar(&f.body, "body", "", "what to send")
	flags.Var(f.headers, "header", "further headers, NAME=VALUE")
	flags.BoolVar(&f.tcp, "tcp", false, "send a line over TCP and read one")
	flags.DurationVar(&f.every, "every", 0, "go on calling at this interval until stopped")
	flags.DurationVar(&f.timeout, "timeout", 5*time.Second, "for each call")
	if err := parse(flags, args); err != nil {
		return err
	}
	if f.tcp == (f.url != "") || f.tcp && f.connect == "" {
		return fmt.Errorf("%w: give either -url, or -tcp with -connect", errUsage)
	}
	if f.every == 0 {
		return f.once(ctx)
	}
	ticks := time.NewTicker(f.every)
	defer ticks.Stop()
	for {
		_ = f.once(ctx) // its line says how it went
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
	}
}

func (f *callFlags) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	start := time.Now()
	e, err := f.exchange(ctx)
	if err != nil {
		if ctx.Err() == context.Canceled {
			return nil // stopped in the middle of a call: that says nothing about the call
		}
		e = event{"event": "failed", "error": err.Error()}
	}
	e["ms"] = time.Since(start).Milliseconds()
	out.emit(e)
	return err
}

func (f *callFlags) exchange(ctx context.Context) (event, error) {
	if f.tcp {
		return f.line(ctx)
	}
	request, err := http.NewRequestWithContext(ctx, f.method, f.url, strings.NewReader(f.body))
	if err != nil {
		return nil, err
	}
	request.Host = f.host
	for name, value := range f.headers {
		request.Header.Set(name, value)
	}
	// A connection of its own for each call: nothing of one outlives it to favour the next.
	transport := &http.Transport{DisableKeepAlives: true, DialContext: f.dial}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	headers := map[string]string{}
	for name := range response.Header {
		headers[strings.ToLower(name)] = response.Header.Get(name)
	}
	e := event{"event": "answer", "status": response.StatusCode, "headers": headers, "body": string(body)}
	if json.Valid(body) {
		e["json"] = json.RawMessage(body)
	}
	return e, nil
}

func (f *callFlags) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if f.connect != "" {
		address = f.connect
	}
	return f.dialer().DialContext(ctx, network, address)
}

// dialer resolves names as an application does on a machine whose resolver is f.dns.
func (f *callFlags) dialer() *net.Dialer {
	if f.dns == "" {
		return &net.Dialer{}
	}
	ask := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, f.dns)
	}
	return &net.Dialer{Resolver: &net.Resolver{PreferGo: true, Dial: ask}}
}

func (f *callFlags) line(ctx context.Context) (event, error) {
	conn, err := f.dial(ctx, "tcp", "")
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		return nil, err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return nil, err
	}
	var name, said string
	var port int
	if n, _ := fmt.Sscanf(answer, "%s %d %s", &name, &port, &said); n != 3 || said != "hello" {
		return nil, errors.New("not an answer of ours: " + answer)
	}
	return event{"event": "answer", "body": answer, "json": map[string]any{"name": name, "port": port}}, nil
}
