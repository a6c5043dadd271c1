package api

import (
	"testing"

	"go.uber.org/goleak"
)

// Nothing that a server or a client started outlives it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
