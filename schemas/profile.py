"""Profiles: where a run happens and how big it may be. A profile never changes a record."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from schemas.choice import by_kind, choice, error_summary
from schemas.errors import BadInput, require_known
from schemas.recipe import Parameters
from schemas.settings_file import read_settings

PROFILES = Path(__file__).resolve().parent.parent / "profiles"

QUACK = "quack://"
"""What the url of a store begins with that a server has."""

DUCKLAKE = "ducklake:postgres:"
"""What the url of a store begins with whose catalogue is in Postgres; libpq's words for the database follow."""

ADVICE = "Mend it, or set profile to a file like those of profiles/"


class StoreSettings(Parameters):
    """Where the rows of a store lie. No url has a password: that stands in an environment variable."""

    url: Annotated[
        str,
        Field(
            description="Path of a DuckDB file, quack://host:port of a server that has one, or ducklake:postgres: and "
            "the words dbname=... host=... port=... user=... of a catalogue in Postgres."
        ),
    ] = "data/gainloop.duckdb"
    lock_seconds: Annotated[
        float, Field(gt=0, description="Seconds to wait while another process has the place, or its server is away.")
    ] = 120
    data_path: Annotated[str, Field(description="Folder of a DuckLake's Parquet files, which every worker has.")] = ""
    token_variable: Annotated[
        str, Field(description="Environment variable that holds the token of a quack server.")
    ] = "GAINLOOP_STORE_TOKEN"  # noqa: S105 - a name
    password_variable: Annotated[
        str, Field(description="Environment variable that holds the password of Postgres.")
    ] = "PGPASSWORD"  # noqa: S105 - a name


class Embedded(Parameters):
    """A transformers model in this process: no server needed."""

    kind: Literal["embedded"] = "embedded"
    device: Annotated[str, Field(description="Torch device.")] = "cpu"


class Servers(Parameters):
    """OpenAI-compatible servers that are already running."""

    kind: Literal["servers"] = "servers"
    urls: Annotated[list[str], Field(min_length=1, description="Urls of the servers, each ending in /v1.")]
    api_key_variable: Annotated[str, Field(description="Environment variable that holds the key.")] = "OPENAI_API_KEY"
    concurrency_limit: Annotated[
        str | None, Field(description="Prefect global concurrency limit that generation takes, or None.")
    ] = None
    others: dict[str, Annotated[list[str], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="Urls of the servers of a model that those of urls do not have, by the model's name.",
    )
    logprobs: Annotated[
        bool, Field(description="False for servers without log-probabilities: then no information is measured.")
    ] = True

    def urls_of(self, model: str) -> list[str]:
        """Return the urls of the servers that have a model."""
        return self.others.get(model, self.urls)


class LocalVLLM(Parameters):
    """A vLLM server that gainloop starts for the model it has just made, and stops afterwards."""

    kind: Literal["vllm"] = "vllm"
    python: Annotated[str, Field(description="Python interpreter that has vllm installed.")] = ".venv-vllm/bin/python"
    arguments: Annotated[tuple[str, ...], Field(description="Arguments of the server, besides gainloop's own.")] = ()
    environment: Annotated[
        dict[str, str], Field(default_factory=dict, description="Environment variables of the server's process.")
    ]
    ready_seconds: Annotated[float, Field(gt=0, description="Seconds to wait for the server's /health, at most.")] = 600
    concurrency_limit: Annotated[
        str | None, Field(description="Prefect global concurrency limit that generation takes, or None.")
    ] = None


_Serving = Embedded | Servers | LocalVLLM

AnyServing = Annotated[
    _Serving, Field(discriminator="kind"), choice("serving", by_kind(_Serving), "schemas/profile.py")
]


class LocalEmbedding(Parameters):
    """An embedding model in this process, for methods that name one."""

    kind: Literal["local"] = "local"
    device: Annotated[str, Field(description="Torch device.")] = "cpu"
    texts_at_once: Annotated[int, Field(ge=1, description="Texts of one forward pass.")] = 32


class EmbeddingServers(Parameters):
    """OpenAI-compatible servers of an embedding model, for methods that name one."""

    kind: Literal["servers"] = "servers"
    urls: Annotated[list[str], Field(min_length=1, description="Urls of the servers, each ending in /v1.")]
    api_key_variable: Annotated[str, Field(description="Environment variable that holds the key.")] = "OPENAI_API_KEY"
    texts_per_request: Annotated[int, Field(ge=1, description="Texts of one request.")] = 32
    max_in_flight: Annotated[int, Field(ge=1, description="Open requests over all servers, at most.")] = 16
    attempts: Annotated[int, Field(ge=1, description="Attempts of a request, where retrying can help.")] = 4
    deadline_seconds: Annotated[float, Field(gt=0, description="Seconds of a request, all attempts together.")] = 600


_Embeddings = LocalEmbedding | EmbeddingServers

AnyEmbedding = Annotated[
    _Embeddings, Field(discriminator="kind"), choice("embedding", by_kind(_Embeddings), "schemas/profile.py")
]


class ToolCommand(Parameters):
    """A server of tools that a run starts as a command, and speaks to by its input and output."""

    kind: Literal["command"] = "command"
    command: Annotated[list[str], Field(min_length=1, description="Command and its arguments.")]
    variables: Annotated[
        tuple[str, ...], Field(description="Names of environment variables that it gets, such as that of a key.")
    ] = ()


class ToolUrl(Parameters):
    """A server of tools that is running already."""

    kind: Literal["url"] = "url"
    url: Annotated[str, Field(pattern=r"^https?://", description="Url that the server speaks MCP at.")]


_ToolServers = ToolCommand | ToolUrl

AnyToolServer = Annotated[
    _ToolServers, Field(discriminator="kind"), choice("tools", by_kind(_ToolServers), "schemas/profile.py")
]


class Generation(Parameters):
    """Requests and shards at once, and how long they may take."""

    max_in_flight: Annotated[int, Field(ge=1, description="Open requests over all servers of a model, at most.")] = 64
    deadline_seconds: Annotated[
        float, Field(gt=0, description="Seconds of a request at servers, all attempts together.")
    ] = 600
    attempts: Annotated[int, Field(ge=1, description="Attempts of a request, where retrying can help.")] = 4
    outage_seconds: Annotated[
        float, Field(gt=0, description="Seconds without any server that answers, after which the run stops.")
    ] = 120
    shard_anchors: Annotated[int, Field(ge=1, description="Anchors of one Prefect task run.")] = 256
    shards_at_once: Annotated[
        int, Field(ge=1, description="Shards at once in a process: the last replies of one keep no server waiting.")
    ] = 2
    tool_seconds: Annotated[float, Field(gt=0, description="Seconds of one call of a real tool, at most.")] = 30
    shard_seconds: Annotated[float, Field(gt=0, description="Seconds of one shard, at most.")] = 86_400
    metrics_port: Annotated[
        int | None,
        Field(
            ge=1, le=65535, description="Port of 127.0.0.1 where Prometheus reads what is counted; none for no port."
        ),
    ] = None


class Threads(Parameters):
    """Shards run in threads of the flow's own process: one process keeps thousands of requests open."""

    kind: Literal["threads"] = "threads"


class Ray(Parameters):
    """Shards run as tasks of a Ray cluster: one that is there already, or one started for the run."""

    kind: Literal["ray"] = "ray"
    address: Annotated[str, Field(description="Address of a running cluster; local starts one on this machine.")] = (
        "local"
    )
    workers: Annotated[int, Field(ge=1, description="Shards at once; each has its part of max_in_flight.")] = 2


_Runners = Threads | Ray

AnyRunner = Annotated[_Runners, Field(discriminator="kind"), choice("runner", by_kind(_Runners), "schemas/profile.py")]


class Prices(Parameters):
    """Prices of a million tokens; 0 where they are not counted."""

    prompt: Annotated[float, Field(ge=0, description="Price of a million prompt tokens.")] = 0
    completion: Annotated[float, Field(ge=0, description="Price of a million completion tokens.")] = 0
    currency: Annotated[str, Field(description="Currency of the prices.")] = "USD"

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the price of tokens, in ``currency``."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


class Training(Parameters):
    """The devices of a training, and what it may take of them: nothing here changes weights, but for rounding."""

    device: Annotated[Literal["cpu", "cuda"], Field(description="Torch device.")] = "cpu"
    precision: Annotated[
        Literal["auto", "bfloat16", "float32"],
        Field(
            description="What the passes of a training multiply in; weights are float32 in any case. auto is bfloat16 "
            "where the device has it in hardware: GPUs since Ampere, processors with AVX-512 BF16 or AMX."
        ),
    ] = "auto"
    rows_per_device: Annotated[
        int, Field(ge=1, description="Packed rows in memory at once; only bfloat16's rounding depends on it.")
    ] = 8
    processes: Annotated[
        int,
        Field(
            ge=1,
            description="Processes of this machine that train together, each on a GPU of its own, or all on its CPU; "
            "each keeps a part of the model. Only rounding depends on it.",
        ),
    ] = 1
    gradient_checkpointing: Annotated[
        bool,
        Field(description="True to compute a layer's values again, not keep them: less memory, a third more time."),
    ] = False
    save_seconds: Annotated[float, Field(gt=0, description="Seconds of work that a crash loses, at most.")] = 30


Threshold = Annotated[float | None, Field(ge=0)]


class Gate(Parameters):
    """Thresholds that hold a batch back before it is trained on. Null switches a veto off; none accepts a batch.

    A figure vetoes if its 95 % interval is clear of the threshold, and never if it was not measured.
    """

    prompt_ignored: Annotated[Threshold, Field(description="Floor of I(p; Y) / log P.")] = 0.5
    noise: Annotated[
        Threshold, Field(description="Ceiling of Delta I per byte, in multiples of the anchors' own entropy rate.")
    ] = 1.5
    accept_rate: Annotated[Threshold, Field(description="Floor of the share that curation keeps.")] = 0.3
    collapsed_share: Annotated[
        Threshold, Field(description="Floor of Delta I per byte, as a share of the median of earlier batches.")
    ] = 0.5
    collapsed_deviations: Annotated[
        Threshold, Field(description="Distance of Delta I below that median, at most, in median absolute deviations.")
    ] = 3
    min_history: Annotated[
        int, Field(ge=2, description="Earlier batches of a method that make a history, at least.")
    ] = 3
    collisions: Annotated[
        bool, Field(description="True to hold a batch whose replies repeat each other more often than chance.")
    ] = True
    near_duplicates: Annotated[Threshold, Field(description="Ceiling of the share of near duplicates.")] = 0.3
    no_closer: Annotated[
        Threshold,
        Field(description="Ceiling of the per cent of records no closer to their own anchor than to another."),
    ] = 25
    non_factual: Annotated[
        Threshold, Field(description="Ceiling of the per cent of records that a judge calls non-factual.")
    ] = 30
    probe: Annotated[Threshold, Field(description="Floor of the gain of a probe run over repeating.")] = 0


class Profile(Parameters):
    """One file of profiles/."""

    name: str
    folder: Annotated[str, Field(description="Replies, checkpoints and reports: a path, or an fsspec url.")] = "data"
    pages: Annotated[
        str,
        Field(
            pattern=r"^https?://[^/?#@\s]+(/[^?#@\s]*)?$",
            description="Address that links to reports begin with: where `gainloop serve` shows the folder's pages.",
        ),
    ] = "http://127.0.0.1:4280"
    store: StoreSettings = StoreSettings()
    serving: AnyServing = Embedded()
    generation: Generation = Generation()
    runner: AnyRunner = Threads()
    prices: Prices = Prices()
    embedding: AnyEmbedding = LocalEmbedding()
    tools: Annotated[
        dict[str, AnyToolServer], Field(default_factory=dict, description="Servers of real tools, by name.")
    ]
    training: Training = Training()
    gate: Gate = Gate()


def load_profile(name: str) -> Profile:
    """Read ``profiles/<name>.yaml`` of the project, or the file ``name`` itself when it ends in .yaml.

    Its relative paths become absolute, so that a profile means the same from any folder: those of a profile in
    profiles/ lie in the project's folder, those of another file beside it.

    Raises:
        BadInput: No such profile, or a setting in it is unknown or out of range.
    """
    if not name.endswith(".yaml"):
        require_known("profile", name, [found.stem for found in PROFILES.glob("*.yaml")], "profiles/")
    path = Path(name) if name.endswith(".yaml") else PROFILES / f"{name}.yaml"
    # By its name, since a path has one slash where a url has two: a password in it would not be known as one.
    attempt = f"reading profile {name if name.endswith('.yaml') else path}"
    try:
        settings = read_settings(path, attempt, ADVICE)
        profile = Profile.model_validate({"name": path.stem} | settings)
    except ValidationError as error:
        raise BadInput(error_summary(attempt, error, "schemas/profile.py")) from error
    if isinstance(profile.runner, Ray) and profile.runner.address != "local":
        return profile  # of several machines: its paths must say themselves where all of them find it
    beside = path.resolve().parent
    return _with_paths_in(PROFILES.parent if beside == PROFILES else beside, profile)


def _with_paths_in(folder: Path, profile: Profile) -> Profile:
    """Return a profile whose relative paths lie in a folder; urls, and a program to be found on the path, stay."""

    def within(path: str) -> str:
        return path if ":" in path else str(folder / path)

    changes: dict[str, Any] = {"folder": within(profile.folder)}
    places = {
        name: within(getattr(profile.store, name)) for name in ("url", "data_path") if getattr(profile.store, name)
    }
    changes["store"] = profile.store.model_copy(update=places)
    if isinstance(profile.serving, LocalVLLM) and "/" in profile.serving.python:
        changes["serving"] = profile.serving.model_copy(update={"python": within(profile.serving.python)})
    return profile.model_copy(update=changes)
