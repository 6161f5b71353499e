// Builds the test server Pilot 1.7.8: the last but one release line that speaks the legacy protocol.
module chandler.test/servers/pilot-1.7

go 1.16

require istio.io/istio v0.0.0-20210223230603-30e54dcb8a1c

// What its own go.mod replaces; a dependent has to repeat it.
replace (
	github.com/golang/glog => github.com/istio/glog v0.0.0-20190424172949-d7cfb6fa2ccd
	github.com/spf13/viper => github.com/istio/viper v1.3.3-0.20190515210538-2789fed3109c
	k8s.io/klog => github.com/istio/klog v0.0.0-20190424230111-fb7481ea8bcf
	vbom.ml/util => github.com/fvbommel/util v0.0.0-20160121211510-db5cfe13f5cc
	github.com/Microsoft/hcsshim => github.com/Microsoft/hcsshim v0.8.8-0.20200421182805-c3e488f0d815
	github.com/chzyer/logex => github.com/chzyer/logex v1.1.11-0.20170329064859-445be9e134b2
	github.com/docker/distribution => github.com/docker/distribution v2.7.1+incompatible
	github.com/docker/docker => github.com/docker/engine v1.4.2-0.20191011211953-adfac697dc5b
	github.com/imdario/mergo => github.com/imdario/mergo v0.3.5
)
