package main

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"strings"
	"sync"
)

// event is one line of output. "event" says which kind it is.
type event map[string]interface{}

var out sync.Mutex

// emit writes a whole line, from any goroutine.
func emit(e event) {
	line, err := json.Marshal(e)
	if err != nil {
		panic(err) // only strings, numbers, and lists and maps of them go in
	}
	out.Lock()
	defer out.Unlock()
	if _, err := os.Stdout.Write(append(line, '\n')); err != nil {
		os.Exit(0) // the reader has gone: nobody is left to serve
	}
}

// instructions hands each line of standard input to do, as its words, until the end of ctx.
func instructions(ctx context.Context, do func(words []string)) {
	lines := make(chan string)
	go func() {
		input := bufio.NewScanner(os.Stdin)
		for input.Scan() {
			lines <- input.Text()
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case line := <-lines:
			if words := strings.Fields(line); len(words) > 0 {
				do(words)
			}
		}
	}
}
