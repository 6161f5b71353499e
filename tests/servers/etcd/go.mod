// Builds the test server etcd 3.6.16, which the real Kubernetes API server stores its objects in.
module chandler.test/servers/etcd

go 1.26.0

require go.etcd.io/etcd/server/v3 v3.6.16
