package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release is set by release builds: -ldflags "-X main.release=1.2.3".
var release string

// version returns the release, or the commit that was built.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) > 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}

func newVersionCommand(con console) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  exactArgs(0),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(con.stdout, versionLine())
			return err
		},
	}
}

// versionLine says all that tells one build from another.
func versionLine() string {
	return fmt.Sprintf("iocpipe %s %s %s/%s", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
