package main

import (
	"fmt"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcp "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// description is what one response says, as far as the tests look at it, and what is to be asked for next.
type description struct {
	names  []string
	detail []any
	next   []string
}

func describe(typeURL string, resources []*anypb.Any) description {
	d := description{names: []string{}, detail: []any{}}
	for _, one := range resources {
		switch typeURL {
		case clusterType:
			d.cluster(one)
		case endpointType:
			d.endpoints(one)
		case listenerType:
			d.listener(one)
		case routeType:
			d.routes(one)
		case nameTable:
			d.table(one)
		}
	}
	return d
}

func (d *description) add(name string, detail any) {
	d.names = append(d.names, name)
	d.detail = append(d.detail, detail)
}

// opened decodes an Any into the type that the subscription promises.
func opened[T proto.Message](one *anypb.Any, into T) (T, bool) {
	if err := one.UnmarshalTo(into); err != nil {
		out.emit(event{"event": "undecodable", "type_url": one.GetTypeUrl(), "error": err.Error()})
		return into, false
	}
	return into, true
}

func (d *description) cluster(one *anypb.Any) {
	c, ok := opened(one, &cluster.Cluster{})
	if !ok {
		return
	}
	kind := c.GetType().String()
	if kind == "EDS" {
		name := c.GetEdsClusterConfig().GetServiceName()
		if name == "" {
			name = c.GetName()
		}
		d.next = append(d.next, name)
	}
	tls := c.GetTransportSocket() != nil || len(c.GetTransportSocketMatches()) > 0
	detail := map[string]any{"name": c.GetName(), "type": kind, "tls": tls}
	if load := c.GetLoadAssignment(); load != nil {
		detail["endpoints"] = endpointsOf(load)
	}
	d.add(c.GetName(), detail)
}

func (d *description) endpoints(one *anypb.Any) {
	if load, ok := opened(one, &endpoint.ClusterLoadAssignment{}); ok {
		d.add(load.GetClusterName(), map[string]any{"cluster": load.GetClusterName(), "endpoints": endpointsOf(load)})
	}
}

func endpointsOf(load *endpoint.ClusterLoadAssignment) []any {
	all := []any{}
	for _, locality := range load.GetEndpoints() {
		l := locality.GetLocality()
		for _, e := range locality.GetLbEndpoints() {
			address, port := socket(e.GetEndpoint().GetAddress())
			// Envoy picks the socket by this key; its presence is what asks for mutual TLS.
			mode := e.GetMetadata().GetFilterMetadata()["envoy.transport_socket_match"].GetFields()["tlsMode"]
			all = append(all, map[string]any{
				"address": address, "port": port, "weight": e.GetLoadBalancingWeight().GetValue(),
				"locality": joined(l), "locality_weight": locality.GetLoadBalancingWeight().GetValue(),
				"tls": mode.GetStringValue() == "istio", "health": e.GetHealthStatus().String(),
			})
		}
	}
	return all
}

func joined(l *core.Locality) string {
	text := l.GetRegion()
	if l.GetZone() != "" {
		text += "/" + l.GetZone()
	}
	if l.GetSubZone() != "" {
		text += "/" + l.GetSubZone()
	}
	return text
}

func socket(a *core.Address) (string, uint32) {
	if pipe := a.GetPipe(); pipe != nil {
		return pipe.GetPath(), 0
	}
	return a.GetSocketAddress().GetAddress(), a.GetSocketAddress().GetPortValue()
}

func (d *description) listener(one *anypb.Any) {
	l, ok := opened(one, &listener.Listener{})
	if !ok {
		return
	}
	address, port := socket(l.GetAddress())
	chains := l.GetFilterChains()
	if last := l.GetDefaultFilterChain(); last != nil {
		chains = append(chains, last)
	}
	routes, clusters := []string{}, []string{}
	for _, chain := range chains {
		for _, filter := range chain.GetFilters() {
			inside, err := filter.GetTypedConfig().UnmarshalNew()
			if err != nil {
				continue // Istio's own filters, which only its own proxy knows
			}
			switch f := inside.(type) {
			case *hcm.HttpConnectionManager:
				if name := f.GetRds().GetRouteConfigName(); name != "" {
					routes = append(routes, name)
				}
			case *tcp.TcpProxy:
				clusters = append(clusters, f.GetCluster())
			}
		}
	}
	d.next = append(d.next, routes...)
	d.add(l.GetName(), map[string]any{
		"name": l.GetName(), "address": fmt.Sprintf("%s:%d", address, port), "routes": routes, "clusters": clusters,
	})
}

func (d *description) routes(one *anypb.Any) {
	r, ok := opened(one, &route.RouteConfiguration{})
	if !ok {
		return
	}
	hosts := []any{}
	for _, host := range r.GetVirtualHosts() {
		clusters := []string{}
		for _, one := range host.GetRoutes() {
			clusters = append(clusters, one.GetRoute().GetCluster())
		}
		hosts = append(hosts, map[string]any{"name": host.GetName(), "domains": host.GetDomains(), "clusters": clusters})
	}
	d.add(r.GetName(), map[string]any{"name": r.GetName(), "hosts": hosts})
}

// table reads istiod's DNS table by its field numbers; its Go type lives in istiod itself:
// NameTable{map<string, NameInfo> table = 1}, NameInfo{repeated string ips = 1}.
func (d *description) table(one *anypb.Any) {
	each(one.GetValue(), 1, func(entry []byte) {
		name, ips := "", []string{}
		each(entry, 1, func(key []byte) { name = string(key) })
		each(entry, 2, func(info []byte) {
			each(info, 1, func(ip []byte) { ips = append(ips, string(ip)) })
		})
		d.add(name, map[string]any{"host": name, "addresses": ips})
	})
}

// each calls f with every length-delimited field of that number.
func each(message []byte, number protowire.Number, f func([]byte)) {
	for len(message) > 0 {
		found, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return
		}
		message = message[n:]
		if found == number && kind == protowire.BytesType {
			value, n := protowire.ConsumeBytes(message)
			if n < 0 {
				return
			}
			f(value)
		}
		if n = protowire.ConsumeFieldValue(found, kind, message); n < 0 {
			return
		}
		message = message[n:]
	}
}
