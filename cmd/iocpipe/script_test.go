package main

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "accept what the program prints, in scripts and golden files")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"iocpipe": main})
}

// TestScript runs the scripts of testdata/script, each the story of one use. Beside testscript's own commands there are
//
//	exits CODE [<FILE] PROGRAM ARG…   runs to the end, which must be with that exit code
//	bytes FILE GO-STRING              writes what a Go string literal says, as in '"a\r\n\x00"'
//	stable FILE                       gives the times in an annotation one value, in place
//	eventually FILE TEXT              waits until the file holds the text
//	source …                          a ThreatCrowd v2 source on loopback: see sourceCommand
//	pipe …                            a filter that runs, line by line: see pipeCommand
//	publish …                         a web server with feeds: see publishCommand
//
// $ROOT is the module's folder.
func TestScript(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("ROOT", root)
			env.Setenv("TZ", "UTC")
			env.Setenv("IOCPIPE_STATE", "none")       // scripts about state say so
			env.Setenv("GORACE", "atexit_sleep_ms=0") // a second for each program, with -race
			env.Values[sourceKey{}] = &scriptSource{t: env.T().(testing.TB)}
			env.Values[pipeKey{}] = new(pipe)
			env.Values[publisherKey{}] = &publisher{t: env.T().(testing.TB)}
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home")) // testscript's /no-home is one for all, and root can make it
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":  exitsCommand,
			"bytes":  bytesCommand,
			"stable": stableCommand,
			"source": sourceCommand,
			"pipe":   pipeCommand,

			"eventually": eventuallyCommand,
			"publish":    publishCommand,
		},
	})
}

func exitsCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE [<FILE] PROGRAM ARG…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	args = args[1:]
	stdin := ""
	if file, ok := strings.CutPrefix(args[0], "<"); ok {
		stdin, args = ts.ReadFile(file), args[1:]
	}
	cmd := scriptProgram(ts, args)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), ts.Stdout(), ts.Stderr()
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%s: %v", args[0], err)
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// scriptProgram returns a command that runs in the script's folder and environment.
func scriptProgram(ts *testscript.TestScript, args []string) *exec.Cmd {
	path, err := exec.LookPath(args[0])
	ts.Check(err)
	cmd := exec.Command(path, args[1:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "ROOT", "GOCOVERDIR", "GORACE", "IOCPIPE_STATE", "OTX_API_KEY"} {
		if value := ts.Getenv(name); value != "" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	return cmd
}

func bytesCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: bytes FILE GO-STRING")
	}
	content, err := strconv.Unquote(args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(content), 0o600))
}

func eventuallyCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: eventually FILE TEXT")
	}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if data, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && strings.Contains(string(data), args[1]) {
			return
		}
	}
	ts.Fatalf("%s does not come to hold %q", args[0], args[1])
}

func stableCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: stable FILE")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), stableTimes([]byte(ts.ReadFile(args[0]))), 0o600))
}
