package config

import "slices"

// rules is every keyword that is carried out. One row per keyword; see doc.go for how to
// add one.
func rules() []rule {
	return slices.Concat(globalRules(), scriptRules(), instanceRules(), routerRules(), groupRules(), trackGroupRules(), garpGroupRules(), trackerRules(),
		staticRules(), virtualServerRules(), serviceRules(), realServerRules(), checkRules())
}

const (
	maxInt    = 1<<31 - 1
	maxUint32 = 1<<32 - 1
)
