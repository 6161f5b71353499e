// Builds the test server istiod 1.18.7: the age that asks for v1alpha3 type URLs and needs no Kubernetes.
module chandler.test/servers/istiod-1.18

go 1.20

require istio.io/istio v0.0.0-20231227034429-2afa2f36166a

// The path that this release's dependencies still use; later versions declare another one.
replace github.com/imdario/mergo => github.com/imdario/mergo v0.3.5

// A tag without a usable module behind it.
exclude k8s.io/kubernetes v1.13.0
