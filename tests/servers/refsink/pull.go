package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	mcp "istio.io/api/mcp/v1alpha1"
	"istio.io/istio/pkg/mcp/sink"
)

// runPull runs sinks that dial a source and dial again, at once, when a stream ends: as Pilot 1.6 does.
func runPull(ctx context.Context, args []string) error {
	var f sinkFlags
	flags := flag.NewFlagSet("pull", flag.ContinueOnError)
	f.register(flags)
	server := flags.String("server", "127.0.0.1:9901", "the source")
	sni := flags.String("sni", "", "name that its certificate must have; empty: the host")
	token := flags.String("token", "", "bearer token to send")
	sinks := flags.Int("sinks", 1, "how many, each with a connection of its own")
	maxSize := flags.Int("max-size", 4<<20, "largest message that is taken, as Pilot's --mcpMaxMsgSize")
	if err := parse(flags, args); err != nil {
		return err
	}
	config, err := f.certificates()
	if err != nil {
		return err
	}
	if *token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+*token)
	}
	var everyone all
	var streams []*streamMaker
	var running sync.WaitGroup
	for n := 0; n < *sinks; n++ {
		one, options, err := f.one(n)
		if err != nil {
			return err
		}
		conn, err := grpc.DialContext(ctx, *server, security(config, *sni),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(*maxSize)))
		if err != nil {
			return fmt.Errorf("%s: %v", *server, err)
		}
		maker := &streamMaker{client: mcp.NewResourceSourceClient(conn), judge: one.judge}
		everyone, streams = append(everyone, one), append(streams, maker)
		running.Add(1)
		go func() {
			defer running.Done()
			sink.NewClient(maker, options).Run(ctx)
		}()
	}
	instructions(ctx, func(words []string) {
		if everyone.do(words) {
			return
		}
		if words[0] == "reconnect" {
			for _, maker := range streams {
				maker.cut()
			}
			emit(event{"event": "done"})
			return
		}
		emit(event{"event": "misunderstood", "why": words[0]})
	})
	everyone.do([]string{"resume"})
	running.Wait()
	return nil
}

func security(config *tls.Config, sni string) grpc.DialOption {
	if config == nil {
		return grpc.WithInsecure()
	}
	config = config.Clone()
	config.ServerName = sni
	return grpc.WithTransportCredentials(credentials.NewTLS(config))
}

// streamMaker is the client that the sink knows: its streams pass by the judge.
type streamMaker struct {
	client mcp.ResourceSourceClient
	judge  *judge

	mu     sync.Mutex
	cancel context.CancelFunc
}

func (m *streamMaker) EstablishResourceStream(
	ctx context.Context, options ...grpc.CallOption,
) (mcp.ResourceSource_EstablishResourceStreamClient, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := m.client.EstablishResourceStream(ctx, options...)
	if err != nil {
		cancel()
		return nil, err
	}
	m.mu.Lock()
	m.cancel = cancel
	m.mu.Unlock()
	m.judge.opened()
	return &dialled{stream, m.judge}, nil
}

// cut ends the stream that is open.
func (m *streamMaker) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cancel != nil {
		m.cancel()
	}
}

type dialled struct {
	mcp.ResourceSource_EstablishResourceStreamClient
	judge *judge
}

func (d *dialled) Send(request *mcp.RequestResources) error {
	d.judge.request(request)
	return d.ResourceSource_EstablishResourceStreamClient.Send(request)
}

func (d *dialled) Recv() (*mcp.Resources, error) {
	message, err := d.ResourceSource_EstablishResourceStreamClient.Recv()
	if err != nil {
		d.judge.ended(status.Code(err).String(), err.Error())
		return nil, err
	}
	d.judge.response(message)
	return message, nil
}
