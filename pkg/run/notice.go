package run

// Notice is something that a person may want to know while a run is opened. It is one of the types below.
type Notice interface{ notice() }

// Resuming says that a run continues where an earlier process stopped.
type Resuming struct{ Run string }

// NewStream says that the run of this command is complete, and that the stream is treated as new input, because
// its content cannot be known beforehand.
type NewStream struct{ Done, Run, Name string }

// NewObjects says how many objects were added to the input since the run was complete.
type NewObjects struct {
	Run     string
	Objects int
}

// NothingNew says that the run was complete, and that there is nothing to do.
type NothingNew struct {
	Run      string
	Finished string // the time, as a text for people
	Bad      uint64 // records that were no events
	Rejected uint64 // events that were rejected then
	Left     uint64 // those of them that no redrive has delivered
	Redrive  string // the run whose redrive would send those
}

// RedrivenAgain says that these dead letters were sent before, by the same redrive.
type RedrivenAgain struct {
	Run      string
	Finished string
	Left     uint64 // those of them that were refused again
	Redrive  string // the run whose redrive would send those
}

// NewPresets says that the presets of a destination have changed since the run began: further events are sent with
// today's presets.
type NewPresets struct{ Run, Destination, Changes string }

// Continuing says that destinations continue with another configuration.
type Continuing struct {
	Run         string
	Differences []Difference
}

// Added says that destinations are new to a run: they begin at the start of the input, and only they do.
type Added struct {
	Run          string
	Destinations []string
}

// Renamed says that a run has delivered events of the same input to a destination of another name, type and settings
// being the same but for secrets, so that they are sent again.
type Renamed struct {
	Run, Was, Destination string
	Delivered             uint64
}

// OtherSettings says that an earlier run of the same input has different destinations under the same names, so
// that this is a new run.
type OtherSettings struct {
	Run         string
	Differences []Difference
}

// StreamGoesOn says, for the stream of an unfinished run, whether it begins with the bytes that were read before:
// if so, the run continues after them; if not, it is a new stream, which How describes if it is not like the one
// before. The notice comes while the run is in progress.
type StreamGoesOn struct {
	Run, Name string
	Same      bool
	Before    int64
	How       string
}

// Replaced says that a file is read as new, because it begins otherwise than the file of its name that was read. The
// notice may come while the run is in progress.
type Replaced struct {
	Run, File string
	Read      int64 // bytes of the one that was read
}

// Held lists files whose last bytes may be only the beginning of a row, and were not read.
type Held struct {
	Run   string
	Files []string
}

func (Held) notice()          {}
func (Replaced) notice()      {}
func (Renamed) notice()       {}
func (StreamGoesOn) notice()  {}
func (Continuing) notice()    {}
func (Added) notice()         {}
func (OtherSettings) notice() {}
func (Resuming) notice()      {}
func (NewStream) notice()     {}
func (NewObjects) notice()    {}
func (NothingNew) notice()    {}
func (RedrivenAgain) notice() {}
func (NewPresets) notice()    {}
