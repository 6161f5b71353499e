package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"
	mcp "istio.io/api/mcp/v1alpha1"
	networking "istio.io/api/networking/v1alpha3"
)

type fakeFlags struct {
	listen, host, vip, name, protocol string
	port                              int
	endpoints                         list
}

// A stand-in for Chandler, for the tests of the tools alone: one ServiceEntry, every other type empty, MeshConfig never
// answered. Instructions on standard input change the entry: "endpoints A:P,…" and "port N". Deltas never change.
func runFakeADS(ctx context.Context, args []string) error {
	var f fakeFlags
	flags := flag.NewFlagSet("fake-ads", flag.ContinueOnError)
	flags.StringVar(&f.listen, "listen", "127.0.0.1:0", "address to listen on")
	flags.StringVar(&f.host, "host", "web.example.internal", "host of the ServiceEntry")
	flags.StringVar(&f.name, "name", "chandler/web", "its namespace and name")
	flags.StringVar(&f.vip, "vip", "244.7.7.7", "its address")
	flags.IntVar(&f.port, "port", 8080, "its port")
	flags.StringVar(&f.protocol, "protocol", "HTTP", "the protocol of its port")
	flags.Var(&f.endpoints, "endpoints", "ADDRESS:PORT of its endpoints")
	if err := parse(flags, args); err != nil {
		return err
	}
	source := &fakeADS{flags: &f, changed: make(chan struct{})}
	if err := source.publish(); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", f.listen)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	discovery.RegisterAggregatedDiscoveryServiceServer(server, source)
	go func() {
		<-ctx.Done()
		server.Stop()
	}()
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	out.emit(event{"event": "ready", "address": listener.Addr().String()})
	commands := instructions()
	for {
		select {
		case err := <-failed:
			return err
		case command := <-commands:
			if err := source.obey(command); err != nil {
				return err
			}
		}
	}
}

func (f *fakeFlags) entry(version int) (*anypb.Any, error) {
	port := "http-" + strconv.Itoa(f.port)
	entry := &networking.ServiceEntry{
		Hosts: []string{f.host}, Addresses: []string{f.vip},
		Location: networking.ServiceEntry_MESH_EXTERNAL, Resolution: networking.ServiceEntry_STATIC,
		Ports: []*networking.ServicePort{{Number: uint32(f.port), Protocol: f.protocol, Name: port}},
	}
	for _, endpoint := range f.endpoints {
		address, number, err := net.SplitHostPort(endpoint)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errUsage, err)
		}
		target, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errUsage, err)
		}
		entry.Endpoints = append(entry.Endpoints, &networking.WorkloadEntry{
			Address: address, Ports: map[string]uint32{port: uint32(target)},
			Locality: "region/zone/rack", Weight: 3,
		})
	}
	body, err := anypb.New(entry)
	if err != nil {
		return nil, err
	}
	return anypb.New(&mcp.Resource{
		Metadata: &mcp.Metadata{
			Name: f.name, Version: strconv.Itoa(version), Labels: map[string]string{"made-by": "fake-ads"},
			CreateTime: timestamppb.New(time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)),
		},
		Body: body,
	})
}

type fakeADS struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer
	flags *fakeFlags

	mu      sync.Mutex
	entry   *anypb.Any
	version int
	changed chan struct{} // closed, and replaced, at every change
}

// publish makes the entry anew and wakes every stream.
func (s *fakeADS) publish() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	entry, err := s.flags.entry(s.version + 1)
	if err != nil {
		return err
	}
	s.entry = entry
	s.version++
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

func (s *fakeADS) current() (*anypb.Any, string, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entry, strconv.Itoa(s.version), s.changed
}

func (s *fakeADS) obey(command instruction) error {
	switch command.verb {
	case "endpoints":
		s.flags.endpoints = command.values
	case "port":
		number, err := strconv.Atoi(strings.Join(command.values, ""))
		if err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		s.flags.port = number
	default:
		return fmt.Errorf("%w: no instruction %q", errUsage, command.verb)
	}
	return s.publish()
}

func holdsEntry(typeURL string) bool { return strings.HasSuffix(typeURL, "/ServiceEntry") }

func (s *fakeADS) StreamAggregatedResources(stream discovery.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	answered, entries := map[string]bool{meshConfigType: true}, ""
	requests := receive(stream.Context(), stream.Recv)
	for {
		entry, version, changed := s.current()
		select {
		case request := <-requests:
			typeURL := request.message.GetTypeUrl()
			switch {
			case request.err != nil:
				return request.err
			case answered[typeURL]:
				continue // an acknowledgement
			case holdsEntry(typeURL):
				entries = typeURL
			}
			answered[typeURL] = true
			if err := answer(stream, typeURL, version, entry); err != nil {
				return err
			}
		case <-changed:
			if entries == "" {
				continue
			}
			entry, version, _ := s.current()
			if err := answer(stream, entries, version, entry); err != nil {
				return err
			}
		}
	}
}

func answer(stream discovery.AggregatedDiscoveryService_StreamAggregatedResourcesServer, typeURL, version string, entry *anypb.Any) error {
	response := &discovery.DiscoveryResponse{TypeUrl: typeURL, VersionInfo: version, Nonce: version}
	if holdsEntry(typeURL) {
		response.Resources = []*anypb.Any{entry}
	}
	return stream.Send(response)
}

func (s *fakeADS) DeltaAggregatedResources(stream discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	answered := map[string]bool{}
	entry, version, _ := s.current()
	for {
		request, err := stream.Recv()
		if err != nil {
			return err
		}
		typeURL := request.GetTypeUrl()
		if answered[typeURL] {
			continue
		}
		answered[typeURL] = true
		response := &discovery.DeltaDiscoveryResponse{TypeUrl: typeURL, SystemVersionInfo: version, Nonce: "1"}
		if holdsEntry(typeURL) && request.GetInitialResourceVersions()[s.flags.name] != version {
			response.Resources = []*discovery.Resource{{Name: s.flags.name, Version: version, Resource: entry}}
		}
		for held := range request.GetInitialResourceVersions() {
			if held != s.flags.name {
				response.RemovedResources = append(response.RemovedResources, held)
			}
		}
		if err := stream.Send(response); err != nil {
			return err
		}
	}
}
