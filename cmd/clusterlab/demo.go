package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"quorate/examples"
	"quorate/internal/console"
	"quorate/sim/demo"
)

func (c *cli) demoCmd() *cobra.Command {
	var o demo.Options
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "show a failover in a private lab on this machine; nothing of its network is touched",
		Long: `demo opens a private lab with three directors, two real servers and a client, pushes examples/lvs-dr.conf,
kills the owner of the virtual IP and shows what the client saw. It needs clusterd beside clusterctl, no root where user
namespaces are allowed. Exit status 0: the client was served again. Ctrl-C removes everything.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Out = c.Out
			o.Examples = examples.FS
			if o.BinDir == "" {
				self, err := os.Executable()
				if err != nil {
					return err
				}
				o.BinDir = filepath.Dir(self)
			}
			err := demo.Run(cmd.Context(), o)
			var exit *demo.ExitError
			if errors.As(err, &exit) {
				return console.ExitCode(exit.Code)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar((*string)(&o.Level), "level", "auto", "auto, netns (this kernel's IPVS), uml (a guest's IPVS) or vip (no IPVS)")
	f.StringVar((*string)(&o.Fault), "fault", "kill", "what happens to the owner: kill (all its processes, -9) or cable (its link goes down)")
	f.StringVar(&o.Keep, "keep", "", "directory for the capture and the logs (default: a new one in the temporary directory)")
	f.StringVar(&o.BinDir, "bin-dir", "", "where clusterd and clusterctl are (default: beside this program)")
	return cmd
}
