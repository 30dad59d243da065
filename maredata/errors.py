"""Every error that Mare Data raises on purpose.

MareError                 what a user can act on; the command line prints its one sentence
├── SettingsError         a MARE_… variable is unknown or has an unusable value
├── SchemaError           reading.toml is wrong, or asks for a change that would lose data
├── MachineError          this machine lacks something: Java, memory, disk, a free port, a download
├── EngineError           an engine did not start, stopped, or does not answer
│   ├── EngineAlreadyRunning
│   ├── EngineTimedOut
│   └── EngineExited
├── StoreError            a store or Kafka refused what was asked of it
├── EmulationError        the buoys can't be emulated as asked (in udp_client.emulate)
├── JobError              a job file can't be used as it is written, or not on this table (in extraction.job)
├── SeedError             past readings can't be made as asked (in extraction.seed)
├── KibanaError           Kibana did not answer or refused (in kibana.client)
├── ConnectError          Kafka Connect's REST API refused or did not answer
└── VerifyTimeout         readings were still on their way when the wait was over (exit status 3)

A reading that is refused is not an error of the program: see `maredata.reading.Refused`.
"""

from __future__ import annotations


class MareError(Exception):
    """What went wrong and what to do, in one full sentence; `exit_status` is what the command exits with."""

    exit_status = 1


class SettingsError(MareError):
    exit_status = 2


class SchemaError(MareError):
    exit_status = 2


class MachineError(MareError):
    exit_status = 2


class EngineError(MareError):
    exit_status = 2


class EngineAlreadyRunning(EngineError):
    pass


class EngineTimedOut(EngineError):
    pass


class EngineExited(EngineError):
    pass


class StoreError(MareError):
    pass


class ConnectError(MareError):
    pass


class VerifyTimeout(MareError):
    exit_status = 3
