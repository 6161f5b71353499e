package main

import (
	"errors"
	"math/rand"
	"sync"
	"time"

	"istio.io/istio/pkg/mcp/sink"
)

// whims is how a sink treats what comes: it refuses some, takes its time, or does not answer at all.
type whims struct {
	mu     sync.Mutex
	random *rand.Rand
	nack   float64       // the share that is refused
	delay  time.Duration // at most
	paused chan struct{} // closed when it goes on; nil: it is not paused
}

var errRefused = errors.New("refused at random")

// Apply is what the sink asks before it answers; what is held is the judge's business.
func (w *whims) Apply(*sink.Change) error {
	w.mu.Lock()
	refuse := w.random.Float64() < w.nack
	var delay time.Duration
	if w.delay > 0 {
		delay = time.Duration(w.random.Int63n(int64(w.delay)))
	}
	paused := w.paused
	w.mu.Unlock()
	if paused != nil {
		<-paused
	}
	time.Sleep(delay)
	if refuse {
		return errRefused
	}
	return nil
}

func (w *whims) setNack(share float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nack = share
}

func (w *whims) setDelay(delay time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delay = delay
}

func (w *whims) pause(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if on && w.paused == nil {
		w.paused = make(chan struct{})
	}
	if !on && w.paused != nil {
		close(w.paused)
		w.paused = nil
	}
}
