package local

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestFullDisk imports and edits on a file system that has no room for it: the store stays as it is.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=3m"); err != nil {
		t.Skip("only root can mount a small disk: ", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	path := filepath.Join(dir, "intel.store")
	replace(t, path, "a", mixed)
	if _, err := Replace(path, importOf("b", 300_000)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("importing: got %v, want that the disk is full", err)
	}
	wantTold(t, open(t, path), mixedTold)

	filler := filepath.Join(dir, "filler")
	_ = os.WriteFile(filler, make([]byte, 4<<20), 0o600) // as much of it as there is room for
	err := Change(path, func(e *Edits) error { return e.Add(entryOf("new.test")) })
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("editing: got %v, want that the disk is full", err)
	}
	wantTold(t, open(t, path), mixedTold)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	edit(t, path, "add", "new.test")
	wantTold(t, open(t, path), map[string]string{"new.test": "malicious in manual", "evil.test": "malicious in a"})
}
