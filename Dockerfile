# The commands and the Python interface, on a CPU:
#
#   docker build -t t2t_lite .
#   docker run --rm -v "$PWD:/work" t2t_lite t2t-datagen --problem=microworld --data_dir=data
#   docker run --rm -v "$PWD:/work" -p 8501:8501 t2t_lite t2t-server --export_dir=export --host=0.0.0.0
#
# For GPUs build with the line below, and run with `docker run --gpus all` (NVIDIA's container toolkit):
#
#   docker build -t t2t_lite --build-arg TENSORFLOW="tensorflow[and-cuda]==2.21.*" .
FROM python:3.12-slim

ARG TENSORFLOW="tensorflow==2.21.*"

WORKDIR /src
COPY setup.py pyproject.toml README.md LICENSE ./
COPY t2t_lite ./t2t_lite
RUN pip install --no-cache-dir --upgrade pip && pip install --no-cache-dir "$TENSORFLOW" .

WORKDIR /work
EXPOSE 8501
CMD ["t2t-trainer", "--help"]
