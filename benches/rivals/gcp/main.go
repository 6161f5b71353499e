// Command gcp serves one file of resources as go-control-plane does by itself: its ADS server over its linear cache,
// state of the world, grpc-go's defaults. The fan-out bench measures it beside Chandler.
//
//	gcp FILE TYPE_URL    FILE is a DiscoveryResponse whose resources are istio.mcp.v1alpha1.Resource
//
// It prints the address that it listens on and ends when its standard input does.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	mcp "istio.io/api/mcp/v1alpha1"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: gcp FILE TYPE_URL")
	}
	resources, err := read(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	linear := cache.NewLinearCache(os.Args[2], cache.WithInitialResources(resources))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	grpcServer := grpc.NewServer()
	ads := server.NewServer(context.Background(), linear, nil)
	discovery.RegisterAggregatedDiscoveryServiceServer(grpcServer, ads)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		grpcServer.Stop()
	}()
	fmt.Println(listener.Addr())
	if err := grpcServer.Serve(listener); err != nil {
		log.Fatal(err)
	}
}

// read decodes what the bench wrote, so that the server holds its resources as messages, as its users do.
func read(file string) (map[string]types.Resource, error) {
	bytes, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all discovery.DiscoveryResponse
	if err := proto.Unmarshal(bytes, &all); err != nil {
		return nil, err
	}
	resources := make(map[string]types.Resource, len(all.Resources))
	for _, wrapped := range all.Resources {
		resource := new(mcp.Resource)
		if err := wrapped.UnmarshalTo(resource); err != nil {
			return nil, err
		}
		resources[resource.GetMetadata().GetName()] = resource
	}
	return resources, nil
}
