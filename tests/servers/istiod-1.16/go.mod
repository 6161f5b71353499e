// Builds the test server istiod 1.16.5: the oldest age that holds back until every collection has been answered.
module chandler.test/servers/istiod-1.16

go 1.19

require istio.io/istio v0.0.0-20230519000352-ae8d5164776c

// The path that this release's dependencies still use; later versions declare another one.
replace github.com/imdario/mergo => github.com/imdario/mergo v0.3.5

// A tag without a usable module behind it.
exclude k8s.io/kubernetes v1.13.0
