// Builds the test server Galley 1.5.10: the server that Chandler takes the place of.
module chandler.test/servers/galley-1.5

go 1.16

require istio.io/istio v0.0.0-20200812220246-25bea56c0eb0

// What its own go.mod replaces; a dependent has to repeat it.
replace (
	github.com/golang/glog => github.com/istio/glog v0.0.0-20190424172949-d7cfb6fa2ccd
	github.com/spf13/viper => github.com/istio/viper v1.3.3-0.20190515210538-2789fed3109c
	k8s.io/klog => github.com/istio/klog v0.0.0-20190424230111-fb7481ea8bcf
	vbom.ml/util => github.com/fvbommel/util v0.0.0-20160121211510-db5cfe13f5cc
	github.com/Azure/go-autorest => github.com/Azure/go-autorest v13.2.0+incompatible
	github.com/Azure/go-autorest/autorest => github.com/Azure/go-autorest/autorest v0.9.0
	github.com/Azure/go-autorest/autorest/adal => github.com/Azure/go-autorest/autorest/adal v0.5.0
	github.com/docker/docker => github.com/docker/engine v1.4.2-0.20191011211953-adfac697dc5b
)
