package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/gogo/protobuf/types"
	"github.com/zeebo/xxh3"

	mcp "istio.io/api/mcp/v1alpha1"
	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/mcp/snapshot"
	"istio.io/istio/pkg/mcp/source"
	mcptest "istio.io/istio/pkg/mcp/testing"
	"istio.io/istio/pkg/mcp/testing/groups"
)

// runServe is the module's own reference source with some ServiceEntries: to try the judge, and clients, without Chandler.
// Its limiter lets a hundred requests through and then one a second.
func runServe(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	address := flags.String("listen", "127.0.0.1:0", "where, on 127.0.0.1")
	release := flags.String("release", "1.6", "serve what this release of Pilot asks for")
	entries := flags.Int("entries", 3, "how many ServiceEntries")
	incremental := flags.Bool("incremental", false, "increments to who asks")
	liar := flags.Bool("liar", false, "claim versions that are not those of what is sent")
	if err := parse(flags, args); err != nil {
		return err
	}
	names, err := collectionsOf(*release, "")
	if err != nil {
		return err
	}
	where, err := net.ResolveTCPAddr("tcp", *address)
	if err != nil {
		return err
	}
	options := source.CollectionOptionsFromSlice(names)
	for i := range options {
		options[i].Incremental = *incremental
	}
	server, err := mcptest.NewServer(where.Port, options)
	if err != nil {
		return err
	}
	content := func(count int) {
		server.Cache.SetSnapshot(groups.Default, made(names, count, *liar))
	}
	content(*entries)
	emit(event{"event": "ready", "address": fmt.Sprintf("127.0.0.1:%d", server.Port)})
	instructions(ctx, func(words []string) {
		count, err := strconv.Atoi(words[len(words)-1])
		if words[0] != "entries" || err != nil {
			emit(event{"event": "misunderstood", "why": words[0]})
			return
		}
		content(count)
		emit(event{"event": "done"})
	})
	return nil
}

// made is a snapshot with so many ServiceEntries, versions as Chandler makes them, and everything else empty.
func made(names []string, count int, liar bool) *snapshot.InMemory {
	builder := snapshot.NewInMemoryBuilder()
	for _, name := range names {
		builder.SetVersion(name, version{}.String())
	}
	held := map[string]string{}
	var resources []*mcp.Resource
	for n := 0; n < count; n++ {
		name := fmt.Sprintf("test/s%d", n)
		resource := entry(name, n)
		held[name] = resource.Metadata.Version
		resources = append(resources, resource)
	}
	claimed, _ := collectionVersion(held)
	if liar {
		claimed = version{1, uint64(count)}.String()
	}
	builder.Set(serviceEntries, claimed, resources)
	return builder.Build()
}

func entry(name string, n int) *mcp.Resource {
	body, err := types.MarshalAny(&networking.ServiceEntry{
		Hosts:      []string{fmt.Sprintf("s%d.example.internal", n)},
		Ports:      []*networking.Port{{Number: 80, Name: "http-80", Protocol: "HTTP"}},
		Resolution: networking.ServiceEntry_STATIC,
		Endpoints:  []*networking.WorkloadEntry{{Address: fmt.Sprintf("10.0.0.%d", n%250+1)}},
	})
	if err != nil {
		panic(err) // a message of the module itself
	}
	created, _ := types.TimestampProto(time.Unix(0, 0))
	sum := xxh3.Hash128(body.Value)
	return &mcp.Resource{
		Metadata: &mcp.Metadata{Name: name, CreateTime: created, Version: version{sum.Hi, sum.Lo}.String()},
		Body:     body,
	}
}
