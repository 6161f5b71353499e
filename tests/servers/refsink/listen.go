package main

import (
	"context"
	"crypto/tls"
	"flag"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	mcp "istio.io/api/mcp/v1alpha1"
	"istio.io/istio/pkg/mcp/rate"
	"istio.io/istio/pkg/mcp/server"
	"istio.io/istio/pkg/mcp/sink"
)

// runListen runs the sink that a source dials.
func runListen(ctx context.Context, args []string) error {
	var f sinkFlags
	flags := flag.NewFlagSet("listen", flag.ContinueOnError)
	f.register(flags)
	address := flags.String("listen", "127.0.0.1:0", "where")
	if err := parse(flags, args); err != nil {
		return err
	}
	one, options, err := f.one(0)
	if err != nil {
		return err
	}
	config, err := f.certificates()
	if err != nil {
		return err
	}
	var serverOptions []grpc.ServerOption
	if config != nil {
		config.ClientAuth = tls.RequireAndVerifyClientCert
		serverOptions = append(serverOptions, grpc.Creds(credentials.NewTLS(config)))
	}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	reference := sink.NewServer(options, &sink.ServerOptions{
		AuthChecker: server.NewAllowAllChecker(),
		RateLimiter: rate.NewRateLimiter(time.Millisecond, 1000).Create(),
	})
	grpcServer := grpc.NewServer(serverOptions...)
	judged := &judgedSink{reference: reference, judge: one.judge}
	mcp.RegisterResourceSinkServer(grpcServer, judged)
	go func() { _ = grpcServer.Serve(listener) }()
	emit(event{"event": "ready", "address": listener.Addr().String()})
	instructions(ctx, func(words []string) {
		if !(all{one}).do(words) {
			emit(event{"event": "misunderstood", "why": words[0]})
		}
	})
	one.whims.pause(false)
	grpcServer.Stop()
	return nil
}

// judgedSink is the reference server, with the judge before it.
type judgedSink struct {
	reference mcp.ResourceSinkServer
	judge     *judge
}

func (s *judgedSink) EstablishResourceStream(stream mcp.ResourceSink_EstablishResourceStreamServer) error {
	s.judge.opened()
	return s.reference.EstablishResourceStream(&accepted{stream, s.judge})
}

type accepted struct {
	mcp.ResourceSink_EstablishResourceStreamServer
	judge *judge
}

func (a *accepted) Send(request *mcp.RequestResources) error {
	a.judge.request(request)
	return a.ResourceSink_EstablishResourceStreamServer.Send(request)
}

func (a *accepted) Recv() (*mcp.Resources, error) {
	message, err := a.ResourceSink_EstablishResourceStreamServer.Recv()
	if err != nil {
		a.judge.ended(status.Code(err).String(), err.Error())
		return nil, err
	}
	a.judge.response(message)
	return message, nil
}
