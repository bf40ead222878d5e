"""What one measuring process may use."""

import resource
from dataclasses import asdict, dataclass
from typing import Any

MIB = 1024 * 1024

# All that the measuring process finds in its environment: no secret of ours; no threads of a linear algebra library
# that nothing uses; and some memory that numpy gives back is kept for its next array, as fetching it from the kernel
# each time costs a third of the reading.
ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2 * MIB),
    "MALLOC_TRIM_THRESHOLD_": str(16 * MIB),
    "MALLOC_TOP_PAD_": str(8 * MIB),
}


@dataclass(frozen=True)
class Limits:
    """Hard limits of the child, and how long its parent waits."""

    memory_bytes: int = 1024 * MIB
    cpu_seconds: int = 20
    wall_seconds: float = 30.0
    open_files: int = 32
    file_bytes: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For the request to the forking process."""
        return asdict(self)

    def apply(self) -> None:
        """Bind this process to them; there is no way back."""
        # Past the soft limit the kernel sends SIGXCPU, a second later SIGKILL.
        resource.setrlimit(resource.RLIMIT_CPU, (self.cpu_seconds, self.cpu_seconds + 1))
        resource.setrlimit(resource.RLIMIT_AS, (self.memory_bytes, self.memory_bytes))
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.file_bytes, self.file_bytes))
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.open_files, self.open_files))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
