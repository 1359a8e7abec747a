"""The job file of `foal init --preset slurm`."""

JOB_NAME = "foal.slurm"

JOB = r"""#!/bin/bash
# Runs `dvc repro` of this folder as one Slurm job: sbatch foal.slurm
# A Dask scheduler runs on the first node and one worker per task; extraction and training use all of them. The folder,
# the corpus and the environment of foal must be visible on all nodes under the same paths. A job that is killed loses
# at most the chunks in progress; submit it again. Change the lines below to what your cluster offers.
#SBATCH --job-name=foal
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem-per-cpu=4G
#SBATCH --time=12:00:00
#SBATCH --output=foal-%j.log
##SBATCH --gpus-per-task=1        # with GPUs: remove one # of this line

set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"
# source /path/to/.venv/bin/activate   # the environment that has foal and dvc

host=$(hostname)
port=$((20000 + ${SLURM_JOB_ID:-0} % 20000))
address="tcp://$host:$port"

# Settings under cluster are no parameters of a stage: this line makes no stage run again.
set_scheduler() { sed -i "s|^  scheduler: [^#]*|  scheduler: $1 |" params.yaml; }
finish() {
  set_scheduler null
  kill $(jobs -p) 2>/dev/null || true
}
trap finish EXIT

# Anyone who reaches this port can run code as you: on a network that others share, configure TLS (docs/reliability.md).
dask scheduler --host "$host" --port "$port" --dashboard-address 127.0.0.1:0 &
srun dask worker "$address" --nworkers 1 --nthreads "${SLURM_CPUS_PER_TASK:-1}" --no-dashboard &
set_scheduler "$address"
dvc repro
"""
