//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package local

import "sync"

var writing sync.Mutex

// lock waits until nobody else in this process writes a store. Between processes there is no lock here: of two writers
// at once one fails to create its file.
func lock(string) (unlock func(), err error) {
	writing.Lock()
	return writing.Unlock, nil
}
