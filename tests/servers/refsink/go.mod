// Builds the test server refsink, our own judge on the reference sink and sink server of Istio 1.6.14.
module chandler.test/servers/refsink

go 1.16

require (
	github.com/gogo/protobuf v1.3.1
	github.com/zeebo/xxh3 v1.0.2
	google.golang.org/grpc v1.28.1
	istio.io/api v0.0.0-20201113182140-d4b7e3fc2b44
	istio.io/istio v0.0.0-20201120194348-3ddc57b6d1e1
	istio.io/pkg v0.0.0-20201113182530-a5cdf6e8c3cd
)

// What its own go.mod replaces; a dependent has to repeat it.
replace (
	github.com/Microsoft/hcsshim => github.com/Microsoft/hcsshim v0.8.8-0.20200421182805-c3e488f0d815
	github.com/chzyer/logex => github.com/chzyer/logex v1.1.11-0.20170329064859-445be9e134b2
	github.com/docker/distribution => github.com/docker/distribution v2.7.1+incompatible
	github.com/docker/docker => github.com/docker/engine v1.4.2-0.20191011211953-adfac697dc5b
	github.com/golang/glog => github.com/istio/glog v0.0.0-20190424172949-d7cfb6fa2ccd
	github.com/imdario/mergo => github.com/imdario/mergo v0.3.5
	github.com/spf13/viper => github.com/istio/viper v1.3.3-0.20190515210538-2789fed3109c
	k8s.io/klog => github.com/istio/klog v0.0.0-20190424230111-fb7481ea8bcf
	vbom.ml/util => github.com/fvbommel/util v0.0.0-20160121211510-db5cfe13f5cc
)
