package main

import (
	"bufio"
	"encoding/json"
	"os"
	"sync"
)

// out is the one writer of standard output: whole lines, flushed at once, from any goroutine.
var out = &lineWriter{w: bufio.NewWriterSize(os.Stdout, 1<<20)}

type lineWriter struct {
	mu sync.Mutex
	w  *bufio.Writer
}

// event is one line of output. "event" says which kind it is.
type event map[string]any

func (l *lineWriter) emit(e event) {
	line, err := json.Marshal(e)
	if err != nil {
		panic(err) // only strings, numbers and already encoded JSON go in
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.w.Write(line)
	_ = l.w.WriteByte('\n')
	if l.w.Flush() != nil {
		os.Exit(0) // the reader has gone: nobody is left to serve
	}
}
