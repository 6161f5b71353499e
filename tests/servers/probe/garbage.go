package main

import (
	"context"
	"encoding/hex"
	"flag"
	"fmt"

	"google.golang.org/grpc"
)

// asIs hands bytes through: what goes over the wire is exactly what the test said.
type asIs struct{}

func (asIs) Name() string { return "proto" }

func (asIs) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }

func (asIs) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}

func runGarbage(ctx context.Context, args []string) error {
	var f streamFlags
	flags := flag.NewFlagSet("garbage", flag.ContinueOnError)
	f.register(flags)
	text := flags.String("bytes", "ffffffff", "hexadecimal; one message of these bytes")
	wire := flags.String("wire", "StreamAggregatedResources", "method of the discovery service")
	if err := parse(flags, args); err != nil {
		return err
	}
	message, err := hex.DecodeString(*text)
	if err != nil {
		return fmt.Errorf("%w: -bytes: %w", errUsage, err)
	}
	conn, err := dial(&f)
	if err != nil {
		return err
	}
	defer conn.Close()
	both := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	method := "/envoy.service.discovery.v3.AggregatedDiscoveryService/" + *wire
	stream, err := conn.NewStream(ctx, both, method, grpc.ForceCodec(asIs{}))
	if err != nil {
		return closed(ctx, err)
	}
	if err := sent(stream.SendMsg(&message)); err != nil {
		return closed(ctx, err)
	}
	messages := receive(ctx, func() ([]byte, error) {
		var answer []byte
		err := stream.RecvMsg(&answer)
		return answer, err
	})
	ending := newEnding(ctx, &f)
	for {
		select {
		case <-ctx.Done():
			return ending.stopped()
		case <-ending.timer:
			return ending.timedOut()
		case m := <-messages:
			if m.err != nil {
				return closed(ctx, m.err)
			}
			out.emit(event{"event": "response", "bytes": len(m.message)})
		}
	}
}
