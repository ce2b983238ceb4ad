# A policy that ships, on its page:
#
#   docker build -t shoal .
#   docker run --rm --init -p 127.0.0.1:8080:8080 shoal          # or: shoal ant
#
# then open http://127.0.0.1:8080/?code=... with the code that it prints.
FROM python:3.13-slim-bookworm AS build
ENV UV_PROJECT_ENVIRONMENT=/opt/shoal UV_PYTHON_DOWNLOADS=never UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /src
COPY pyproject.toml uv.lock README.md LICENSE ./
# What changes seldom, in a layer of its own.
RUN uv sync --frozen --no-default-groups --extra demo --no-install-project
COPY shoal/ shoal/
COPY sim2real/ sim2real/
COPY teacher/ teacher/
COPY student/ student/
COPY export/ export/
COPY runtime/ runtime/
COPY models/ models/
RUN uv sync --frozen --no-default-groups --extra demo --no-editable

FROM python:3.13-slim-bookworm
COPY --from=build /opt/shoal /opt/shoal
ENV PATH=/opt/shoal/bin:$PATH PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 1000 shoal
USER 1000
WORKDIR /home/shoal
EXPOSE 8080
ENTRYPOINT ["shoal-demo", "--no-browser", "--host", "0.0.0.0"]
