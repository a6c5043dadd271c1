package api

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// NodeName reads from a state directory who this director is. It needs no certificate: the VRRP and
// checker workers run even if the cluster worker cannot.
func NodeName(dir string) (string, error) {
	path := filepath.Join(dir, "node.json")
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("who is this director? %w", err)
	}
	var id Identity
	if err := json.Unmarshal(b, &id); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	if id.Name == "" {
		return "", fmt.Errorf("%s names no node", path)
	}
	return id.Name, nil
}
