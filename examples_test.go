package iocpipe_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTimers runs the commands of the systemd service and of the cron line in docs/feeds.md as they stand there, on a
// host without feeds.
func TestTimers(t *testing.T) {
	read := func(path string) string {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	bin := build(t)
	for path, command := range map[string]string{
		"examples/systemd/iocpipe-update.service": `(?m)^ExecStart=/usr/local/bin/(iocpipe .*)$`,
		"docs/feeds.md": `(?m)^\*/15 \* \* \* \* iocpipe (iocpipe .*) >/dev/null$`,
	} {
		found := regexp.MustCompile(command).FindStringSubmatch(read(path))
		if found == nil {
			t.Errorf("%s: no command", path)
			continue
		}
		state := t.TempDir()
		cmd := exec.Command("bash", "-c", strings.ReplaceAll(found[1], "/var/lib/iocpipe", state))
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "IOCPIPE_STATE="+state)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "there is no feed yet") {
			t.Errorf("%s: %s: %v\n%s", path, found[1], err, out)
		}
	}
}

// TestSystemdUnits lets systemd check its units, with the program in place.
func TestSystemdUnits(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is missing: it comes with systemd")
	}
	dir, bin := t.TempDir(), build(t)
	units, _ := filepath.Glob("examples/systemd/*")
	if len(units) == 0 {
		t.Fatal("no units")
	}
	var copies []string
	for _, unit := range units {
		data, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		copied := filepath.Join(dir, filepath.Base(unit))
		if err := os.WriteFile(copied, []byte(strings.ReplaceAll(string(data), "/usr/local/bin", bin)), 0o600); err != nil {
			t.Fatal(err)
		}
		copies = append(copies, copied)
	}
	out, err := exec.Command("systemd-analyze", append([]string{"verify", "--man=no"}, copies...)...).CombinedOutput()
	if err != nil || strings.Contains(string(out), dir) {
		t.Errorf("%v\n%s", err, out)
	}
}
