# Two images: `mare`, which every service of ours runs, and `jupyter`, the notebooks' server with our package in it.
# Tag seen: https://github.com/docker-library/repo-info/blob/master/repos/python/remote/3.12.13-slim-bookworm.md
FROM python:3.12.13-slim-bookworm AS base

FROM base AS build
WORKDIR /source
COPY pyproject.toml ./
COPY installs/constraints.txt installs/constraints.txt
# Dependencies first: a change of our code then costs a small layer only.
RUN python -m venv /opt/mare \
    && python -c "import tomllib; print('\n'.join(tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies']))" \
       > /tmp/requirements.txt \
    && /opt/mare/bin/python -m pip install --no-cache-dir -c installs/constraints.txt -r /tmp/requirements.txt hatchling
COPY . .
RUN /opt/mare/bin/python -m pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheel . \
    && /opt/mare/bin/python -m pip install --no-cache-dir --no-deps /wheel/*.whl \
    && /opt/mare/bin/python -m pip uninstall --yes hatchling \
    && /opt/mare/bin/python -m pip uninstall --yes pip

# Tag seen: https://github.com/jupyter/docker-stacks (README, example 1). The images moved there from Docker Hub.
FROM quay.io/jupyter/scipy-notebook:2025-03-14 AS jupyter
COPY --from=build /wheel /tmp/wheel
COPY installs/constraints.txt /tmp/constraints.txt
RUN pip install --no-cache-dir -c /tmp/constraints.txt /tmp/wheel/*.whl
ENV TZ=UTC

FROM base AS mare
# The folder of Connect's secrets stands here so that a fresh volume on it belongs to our account.
RUN rm -rf /usr/local/lib/python3*/site-packages/pip* /usr/local/bin/pip* \
    && groupadd --gid 1000 mare \
    && useradd --uid 1000 --gid 1000 --home-dir /var/lib/mare --no-log-init mare \
    && mkdir -p /var/lib/mare/data/connect/secrets /jobs \
    && chown -R mare:mare /var/lib/mare /jobs
COPY --from=build /opt/mare /opt/mare
ENV PATH=/opt/mare/bin:$PATH MARE_HOME=/var/lib/mare PYTHONUNBUFFERED=1 TZ=UTC LANG=C.UTF-8
USER 1000:1000
WORKDIR /var/lib/mare
ENTRYPOINT ["mare"]
CMD ["--help"]
