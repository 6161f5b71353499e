package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// A Kubernetes API that holds nothing: istiod (1.30 and newer) needs one to start, not to find anything in it.
// Plain HTTP, no authentication, no discovery beyond the version.
func runStubAPIServer(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("stub-apiserver", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:0", "address to listen on")
	kubeconfig := flags.String("write-kubeconfig", "", "file to write a kubeconfig to")
	verbose := flags.Bool("verbose", false, "a line per request")
	if err := parse(flags, args); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	if *kubeconfig != "" {
		if err := os.WriteFile(*kubeconfig, []byte(kubeconfigFor(listener.Addr().String())), 0o600); err != nil {
			return err
		}
	}
	out.emit(event{"event": "ready", "address": listener.Addr().String()})
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if *verbose {
				out.emit(event{"event": "request", "method": r.Method, "url": r.URL.String(), "accept": r.Header.Get("Accept")})
			}
			answerAPI(ctx, w, r)
		}),
	}
	return serve(ctx, server, listener)
}

func kubeconfigFor(address string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: stub, cluster: {server: "http://%s"}}]
users: [{name: stub, user: {}}]
contexts: [{name: stub, context: {cluster: stub, user: stub}}]
current-context: stub
`, address)
}

func answerAPI(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.URL.Path == "/version":
		reply(w, http.StatusOK, map[string]any{"major": "1", "minor": "33", "gitVersion": "v1.33.0", "platform": "linux/amd64"})
	case r.URL.Path == "/api":
		reply(w, http.StatusOK, map[string]any{"kind": "APIVersions", "versions": []string{"v1"}})
	case r.URL.Path == "/apis":
		reply(w, http.StatusOK, map[string]any{"kind": "APIGroupList", "apiVersion": "v1", "groups": []any{}})
	case r.URL.Path == "/readyz" || r.URL.Path == "/healthz" || r.URL.Path == "/livez":
		_, _ = w.Write([]byte("ok"))
	case path[0] == "api" && len(path) == 2 || path[0] == "apis" && len(path) == 3:
		reply(w, http.StatusOK, map[string]any{"kind": "APIResourceList", "apiVersion": "v1", "resources": []any{}})
	case r.Method != http.MethodGet:
		refuse(w, http.StatusForbidden, "Forbidden", "this API holds nothing and takes nothing")
	case isCollection(path):
		answerCollection(ctx, w, r)
	default:
		refuse(w, http.StatusNotFound, "NotFound", r.URL.Path+" not found")
	}
}

// isCollection tells /…/pods and /…/namespaces/x/pods from /…/pods/y: after the group and version an odd number
// of parts is a collection, with `namespaces/x` in front or without.
func isCollection(path []string) bool {
	skip := map[string]int{"api": 2, "apis": 3}[path[0]]
	return skip > 0 && (len(path)-skip)%2 == 1
}

func answerCollection(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if watch := query.Get("watch"); watch != "true" && watch != "1" {
		list := map[string]any{"metadata": map[string]any{"resourceVersion": "1"}, "items": []any{}}
		if strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadataList") {
			list["kind"], list["apiVersion"] = "PartialObjectMetadataList", "meta.k8s.io/v1"
		}
		// Otherwise no kind: a typed client then takes the one that it expects.
		reply(w, http.StatusOK, list)
		return
	}
	if query.Get("sendInitialEvents") == "true" {
		// client-go then lists and watches as it always did.
		refuse(w, http.StatusUnprocessableEntity, "Invalid", "sendInitialEvents is not served here")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	select {
	case <-r.Context().Done():
	case <-ctx.Done():
	}
}

func refuse(w http.ResponseWriter, code int, reason, message string) {
	reply(w, code, map[string]any{
		"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code,
	})
}

func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

// serve runs an HTTP server until the program is told to stop.
func serve(ctx context.Context, server *http.Server, listener net.Listener) error {
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return server.Close()
	}
}
