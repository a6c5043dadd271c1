package main

import "github.com/spf13/cobra"

// labCmds are the commands that need no cluster of one's own.
func (c *cli) labCmds() []*cobra.Command { return nil }
