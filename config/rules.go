package config

import "slices"

// rules is every keyword that is carried out. One row per keyword; see doc.go for how to
// add one.
func rules() []rule {
	return slices.Concat(globalRules(), scriptRules(), instanceRules(), virtualServerRules(), realServerRules(), tcpCheckRules())
}

const (
	mailYet = "mail is not sent yet"
	maxInt  = 1<<31 - 1
)
