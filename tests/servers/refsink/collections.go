package main

import (
	"fmt"
	"sort"
	"strings"

	// The messages that resources may hold: the sink refuses what is not linked in.
	_ "istio.io/api/networking/v1alpha3"
	_ "istio.io/api/security/v1beta1"
)

const serviceEntries = "istio/networking/v1alpha3/serviceentries"

// asked says which releases of Pilot, first to last, ask for a collection. Seen on running ones up to 1.6.
var asked = map[string][2]int{
	"istio/networking/v1alpha3/virtualservices":      {1, 8},
	"istio/networking/v1alpha3/gateways":             {1, 8},
	serviceEntries:                                   {1, 8},
	"istio/networking/v1alpha3/destinationrules":     {1, 8},
	"istio/networking/v1alpha3/envoyfilters":         {1, 8},
	"istio/networking/v1alpha3/sidecars":             {1, 8},
	"istio/networking/v1alpha3/workloadentries":      {6, 8},
	"istio/networking/v1alpha3/workloadgroups":       {8, 8},
	"istio/config/v1alpha2/httpapispecs":             {1, 7},
	"istio/config/v1alpha2/httpapispecbindings":      {1, 7},
	"istio/mixer/v1/config/client/quotaspecs":        {1, 7},
	"istio/mixer/v1/config/client/quotaspecbindings": {1, 7},
	"istio/authentication/v1alpha1/policies":         {1, 5},
	"istio/authentication/v1alpha1/meshpolicies":     {1, 5},
	"istio/rbac/v1alpha1/serviceroles":               {1, 6},
	"istio/rbac/v1alpha1/servicerolebindings":        {1, 6},
	"istio/rbac/v1alpha1/rbacconfigs":                {1, 6},
	"istio/rbac/v1alpha1/clusterrbacconfigs":         {1, 6},
	"istio/rbac/v1alpha1/authorizationpolicies":      {2, 2},
	"istio/security/v1beta1/authorizationpolicies":   {4, 8},
	"istio/security/v1beta1/peerauthentications":     {5, 8},
	"istio/security/v1beta1/requestauthentications":  {5, 8},
}

// collectionsOf lists what a release asks for ("1.6"), or what is named, with commas between.
func collectionsOf(release, named string) ([]string, error) {
	if named != "" {
		return strings.Split(named, ","), nil
	}
	var minor int
	if n, err := fmt.Sscanf(release, "1.%d", &minor); n != 1 || err != nil || minor < 1 || minor > 8 {
		return nil, fmt.Errorf("%w: -release %q: 1.1 to 1.8", errUsage, release)
	}
	var names []string
	for name, releases := range asked {
		if releases[0] <= minor && minor <= releases[1] {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names, nil
}
