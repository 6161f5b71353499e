// Builds the test server istiod, master of 2024-02-21 (between 1.21 and 1.22): the last of the v1alpha3 type URLs that can
// be had.
module chandler.test/servers/istiod-1.22

go 1.22

require (
	istio.io/api v1.22.0
	istio.io/client-go v1.22.0
	istio.io/istio v0.0.0-20240221233722-55f12a68b4f9
)

// The path that this release's dependencies still use; later versions declare another one.
replace github.com/imdario/mergo => github.com/imdario/mergo v0.3.5
