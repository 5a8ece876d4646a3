//go:build unix

package sharedfile

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestDraftKeepsOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	path := filepath.Join(t.TempDir(), "list")
	write(t, path, "old")
	if err := os.Chown(path, 4711, 4712); err != nil {
		t.Fatal(err)
	}
	d, err := Create(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Discard()
	if err := d.Finish(); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t); owner.Uid != 4711 || owner.Gid != 4712 {
		t.Errorf("the file is %d:%d's now", owner.Uid, owner.Gid)
	}
}
