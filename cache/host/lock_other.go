//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package host

// lockFolder does nothing where folders cannot be locked.
func lockFolder(string) (unlock func()) { return func() {} }

// Alone returns a function that reports true: nobody can tell.
func Alone(string) func() bool { return func() bool { return true } }
