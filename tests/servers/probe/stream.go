package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

// istiod's own settings for this connection: 1 MiB windows, a ping after 30 s.
const window = 1 << 20

func dial(s *streamFlags) (*grpc.ClientConn, error) {
	if s.server == "" {
		return nil, fmt.Errorf("%w: -server is missing", errUsage)
	}
	return grpc.NewClient("passthrough:///"+s.server,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithInitialWindowSize(window),
		grpc.WithInitialConnWindowSize(window),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(s.maxMsg)),
	)
}

func node(id string, metadata map[string]any) (*core.Node, error) {
	fields, err := structpb.NewStruct(metadata)
	if err != nil {
		return nil, err
	}
	return &core.Node{Id: id, Metadata: fields}, nil
}

// received is one message of a stream or its end.
type received[T any] struct {
	message T
	err     error
}

// receive reads a stream in a goroutine of its own, so that commands and time-outs are served meanwhile. It holds
// nothing back: the next message is read only when the last one was taken.
func receive[T any](ctx context.Context, recv func() (T, error)) <-chan received[T] {
	messages := make(chan received[T])
	go func() {
		for {
			message, err := recv()
			select {
			case messages <- received[T]{message, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return messages
}

// instructions are lines on standard input such as "subscribe a,b": a word and its values.
type instruction struct {
	verb   string
	values []string
}

func instructions() <-chan instruction {
	lines := make(chan instruction)
	go func() {
		scanner := bufio.NewScanner(os.Stdin)
		scanner.Buffer(nil, 16<<20)
		for scanner.Scan() {
			verb, rest, _ := strings.Cut(strings.TrimSpace(scanner.Text()), " ")
			var values list
			_ = values.Set(rest)
			if verb != "" {
				lines <- instruction{verb, values}
			}
		}
		// The end of standard input is not the end of the run: a shell gives none at all.
	}()
	return lines
}

// ending says how a run may end: told to stop, or out of time.
type ending struct {
	ctx   context.Context
	timer <-chan time.Time
	count int
}

func newEnding(ctx context.Context, s *streamFlags) *ending {
	e := &ending{ctx: ctx, count: s.count}
	if s.timeout > 0 {
		e.timer = time.After(s.timeout)
	}
	return e
}

func (e *ending) timedOut() error {
	out.emit(event{"event": "end", "reason": "timeout"})
	if e.count > 0 {
		return errors.New("time ran out before the responses asked for had come")
	}
	return nil
}

func (e *ending) stopped() error {
	out.emit(event{"event": "end", "reason": "signal"})
	return nil
}

// enough is true once as many responses as were asked for have come.
func (e *ending) enough(responses int) bool {
	if e.count == 0 || responses < e.count {
		return false
	}
	out.emit(event{"event": "end", "reason": "count"})
	return true
}

// sent is the outcome of a Send. A stream that the server has ended answers io.EOF; why it ended comes with the next
// message, so that is no failure yet.
func sent(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// closed reports the end of a stream that the server ended, or that never came about.
func closed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		out.emit(event{"event": "end", "reason": "signal"})
		return nil
	}
	if errors.Is(err, io.EOF) {
		out.emit(event{"event": "closed", "code": codes.OK.String(), "message": ""}) // as grpc-go tells of a good end
		return err
	}
	s, _ := status.FromError(err)
	out.emit(event{"event": "closed", "code": s.Code().String(), "message": s.Message()})
	return err
}
