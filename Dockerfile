FROM python:3.12-slim-bookworm

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1 \
    STREAMGAUGE_CACHE_DIR=/var/cache/streamgauge

WORKDIR /app
RUN useradd --system --uid 10001 --home-dir /var/lib/streamgauge --create-home streamgauge
RUN install --directory --owner streamgauge /var/cache/streamgauge

# The libraries first: a change of the product's own code does not install them again.
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*p['dependencies'], *p['optional-dependencies']['sql'], sep='\n')" >requirements.txt
RUN pip install -c constraints.txt -r requirements.txt setuptools
COPY . .
RUN pip install -c constraints.txt --no-build-isolation --no-deps .

WORKDIR /var/lib/streamgauge
USER streamgauge
# For this machine's processor; on another one the first start compiles again, into the same folder.
RUN streamgauge compile-kernels

VOLUME /var/lib/streamgauge
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/livez', timeout=3)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["streamgauge"]
CMD ["run", "/etc/streamgauge/pipeline.toml"]
