package extract

// An Outcome is what a line says became of what it tells: a login that failed, a name that was not there.
type Outcome uint8

// The outcomes.
const (
	NoOutcome Outcome = iota
	OK                // accepted, succeeded, HTTP 2xx and 3xx
	Fail              // failed login, HTTP 4xx
	Deny              // blocked, dropped, rejected
	NXDomain          // the name does not exist
)

// A Context is what a line says, cheaply readable, beside its indicators.
type Context struct {
	Outcome Outcome
	Host    string // the private address, or the host, that met the indicators; aliases the line
}
