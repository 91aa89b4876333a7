"""The local engine: torch in this process, on the device the checkpoint was loaded onto."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from inference.checkpoint import Checkpoint, load_checkpoint
from inference.denoising import step
from inference.engines.attempt import OutOfMemory, attempt, is_out_of_memory
from inference.engines.base import Cancelled, EngineError, Filling, ReportProgress
from inference.engines.local_filling import LocalFilling
from inference.models.base import PromptCache
from inference.prefix_cache import PrefixCache, shared_length
from inference.protocol import Draft, EditRequest, ErrorCode, Fixed, InfillRequest, InfillResult, Masked
from inference.warm_start import Answers

_WARM_UP = InfillRequest(segments=(Fixed("def f(x):\n    "), Masked(8), Fixed("\n")), max_denoising_steps=2, seed=0)


class LocalEngine:
    """Fills gaps with a checkpoint folder. See :class:`~inference.engines.base.Engine`.

    ``load`` reads the folder, at each :meth:`load` anew. ``prefix_bytes`` bounds the memory of encoded prompts; by
    default 256 MiB, on a GPU a sixteenth of its memory.
    """

    def __init__(
        self,
        folder: Path,
        *,
        load: Callable[[Path, ReportProgress], Checkpoint] = load_checkpoint,
        prefix_bytes: int | None = None,
    ) -> None:
        self._folder, self._load = folder, load
        self._checkpoint: Checkpoint | None = None
        self._prefix_bytes = prefix_bytes
        self._prefixes = PrefixCache(0)
        self._answers = Answers()

    @property
    def name(self) -> str:
        """``local``."""
        return "local"

    @property
    def model(self) -> str:
        """The checkpoint's name; the folder's before :meth:`load`."""
        return self._checkpoint.name if self._checkpoint else self._folder.name

    @property
    def device(self) -> str:
        """Where the weights are; empty without any."""
        return str(self._checkpoint.denoiser.device) if self._checkpoint else ""

    @property
    def takes_instructions(self) -> bool:
        """Whether the checkpoint's format understands them; False without weights."""
        return self._checkpoint is not None and self._checkpoint.format.takes_instructions

    @property
    def room(self) -> int:
        """A GPU reads its weights once for all fillings; on a CPU each of them takes its time."""
        return 16 if self._on_gpu else 4

    def load(self, report: ReportProgress) -> None:
        """Load the checkpoint and run one short request. Raises :class:`EngineError`."""
        self.unload()
        try:
            self._checkpoint = self._load(self._folder, report)
            device = self._checkpoint.denoiser.device
            self._prefixes = PrefixCache(_prefix_bytes(device) if self._prefix_bytes is None else self._prefix_bytes)
            report(0.9, "warming up")
            self.infill(_WARM_UP)
        except BaseException as error:
            self.unload()
            if is_out_of_memory(error):
                raise OutOfMemory("loading the checkpoint") from error
            raise
        self._prefixes.clear()
        report(1.0, "ready")

    def unload(self) -> None:
        """Free the weights and the prompts; the file's pages stay with the system, from where they load fast."""
        self._checkpoint = None
        self._free_memory()

    def close(self) -> None:
        """Free the weights and the prompts."""
        self.unload()

    def begin(
        self,
        request: InfillRequest | EditRequest,
        *,
        deadline: float | None,
        on_draft: Callable[[Draft], None] | None,
    ) -> LocalFilling:
        """Lay the request out, from what an earlier answer lets one expect; see :meth:`Engine.begin`."""
        began, checkpoint = time.monotonic(), self._loaded()
        gap = _only_gap(request)
        expected = None
        if gap is not None and request.document is not None:
            expected = self._answers.expected(request.document, *gap)
        prepared = checkpoint.format.prepare(request, expected)
        return LocalFilling(checkpoint, request, prepared, deadline=deadline, on_draft=on_draft, began=began)

    def advance(self, fillings: Sequence[Filling]) -> None:
        """One piece of a prompt or of what is to be judged each, at most, or one step in a forward with others; see
        :meth:`Engine.advance`."""
        self._loaded()
        under_way = [f for f in fillings if isinstance(f, LocalFilling) and f.outcome is None]
        busy = [filling for filling in under_way if self._prepare(filling)]
        ready = [filling for filling in under_way if filling.denoising is not None and filling not in busy]
        for group in self._groups(ready):
            self._step(group)
        for filling in under_way:
            if isinstance(filling.outcome, InfillResult):
                self._remember(filling.request, filling.outcome)

    def abandon(self, filling: Filling) -> None:
        """Free what the filling holds; what is encoded of its prompt stays in the prefix cache."""
        if isinstance(filling, LocalFilling) and filling.outcome is None:
            filling.end_with(EngineError("the request was given up", ErrorCode.CANCELLED))

    def infill(
        self,
        request: InfillRequest | EditRequest,
        *,
        deadline: float | None = None,
        cancelled: Callable[[], bool] = lambda: False,
        on_draft: Callable[[Draft], None] | None = None,
    ) -> InfillResult:
        """Bring one request to its end. Raises its :class:`EngineError`; ``Cancelled`` once ``cancelled()`` is true,
        asked before every piece and step."""
        filling = self.begin(request, deadline=deadline, on_draft=on_draft)
        while filling.outcome is None:
            if cancelled():
                self.abandon(filling)
                raise Cancelled
            self.advance([filling])
        if isinstance(filling.outcome, EngineError):
            raise filling.outcome
        return filling.outcome

    @property
    def _on_gpu(self) -> bool:
        return self.device.startswith("cuda")

    @property
    def _piece(self) -> int:
        """Tokens of a prompt that are encoded at once: some tens of milliseconds."""
        return 2048 if self._on_gpu else 512

    @property
    def _shared_bytes(self) -> int:
        """Bytes of logits that fillings may have together in one forward; each of them may need more alone."""
        return 2**31 if self._on_gpu else 2**27

    def _loaded(self) -> Checkpoint:
        if self._checkpoint is None:
            raise EngineError("the model is not loaded; wait until the worker is ready", ErrorCode.NOT_READY)
        return self._checkpoint

    def _prepare(self, filling: LocalFilling) -> bool:
        """Do a piece of what is to be done before or after denoising; False when there is nothing but that."""
        if filling.to_judge:
            self._judge(filling)
            return True
        if filling.denoising is not None:
            return False
        busy = self._encode(filling)
        if not busy and filling.to_judge:
            self._judge(filling)
            busy = True
        return busy

    def _judge(self, filling: LocalFilling) -> None:
        """Score the next texts of a filling."""
        for tokens in (self._piece, self._piece, self._piece // 8):
            error = attempt(partial(self._judge_piece, filling, tokens), "judging a text")
            if not isinstance(error, OutOfMemory):
                break
            self._free_memory()
        if error is not None:
            filling.end_with(error)

    def _judge_piece(self, filling: LocalFilling, tokens: int) -> None:
        assert filling.judging is not None
        started, denoiser = time.monotonic(), self._loaded().denoiser
        texts = filling.judging.waiting(tokens)
        scored = denoiser.score([text.token_ids for text in texts], filling.judged_prompt, texts[0].shared)
        filling.judged(scored, time.monotonic() - started)

    def _encode(self, filling: LocalFilling) -> bool:
        """Encode the next piece of the filling's prompt; False when all of it was encoded already."""
        left = 0
        for tokens in (self._piece, self._piece, self._piece // 8):
            past, shared = self._past(filling)
            left = len(filling.prepared.prompt_ids) - shared
            error = attempt(partial(self._encode_piece, filling, past, shared, tokens), "encoding the prompt")
            if not isinstance(error, OutOfMemory):
                break
            del past
            self._free_memory()
        if error is not None:
            filling.end_with(error)
        return left > 0

    def _past(self, filling: LocalFilling) -> tuple[PromptCache | None, int]:
        """What is encoded of the filling's prompt, by whomever, and how many tokens of it."""
        wanted = filling.prepared.prompt_ids
        past, shared = self._prefixes.longest_shared(wanted)
        if filling.prompt is not None and (own := shared_length(filling.encoded_ids, wanted)) > shared:
            return filling.prompt, own
        return past, shared

    def _encode_piece(self, filling: LocalFilling, past: PromptCache | None, shared: int, tokens: int) -> None:
        started, denoiser = time.monotonic(), self._loaded().denoiser
        ids = filling.prepared.prompt_ids[: shared + tokens]
        prompt = denoiser.encode(torch.tensor([ids], device=denoiser.device), past, shared)
        if self._on_gpu:
            torch.cuda.synchronize()  # pieces that wait in a queue could not be cancelled
        self._prefixes.keep(ids, prompt, denoiser.size_bytes(prompt))
        filling.encoded(prompt, len(ids), len(ids) - shared, time.monotonic() - started)

    def _groups(self, ready: Sequence[LocalFilling]) -> Iterator[list[LocalFilling]]:
        """Fillings that share a forward: of one canvas length, and with no more logits than fit."""
        vocab_size = self._loaded().denoiser.vocab_size
        by_length = defaultdict[int, list[LocalFilling]](list)
        for filling in ready:
            assert filling.denoising is not None
            by_length[filling.denoising.canvas_length].append(filling)
        for length, fillings in by_length.items():
            group, rows = list[LocalFilling](), 0
            for filling in fillings:
                assert filling.denoising is not None
                rows += len(filling.denoising.live)
                if group and 4 * rows * length * vocab_size > self._shared_bytes:
                    yield group
                    group, rows = [], len(filling.denoising.live)
                group.append(filling)
            yield group

    def _step(self, group: Sequence[LocalFilling], *, freed: bool = False) -> None:
        """One step for all of ``group``; what fails together is tried one by one, and with less memory."""
        started, denoiser = time.monotonic(), self._loaded().denoiser
        denoisings = [filling.denoising for filling in group if filling.denoising is not None]
        error = attempt(lambda: step(denoiser, denoisings), "filling the gap")
        if error is None:
            for filling in group:
                self._after_step(filling, time.monotonic() - started)
        elif isinstance(error, OutOfMemory) and not freed:
            for denoising in denoisings:
                denoising.forward = None  # it holds copies of the prompts
            self._free_memory()
            self._step(group, freed=True)
        elif len(group) > 1:
            for filling in group:
                self._step([filling], freed=freed)
        elif isinstance(error, OutOfMemory) and self._eased(group[0]):
            self._step(group, freed=True)
        else:
            group[0].end_with(error)

    def _eased(self, filling: LocalFilling) -> bool:
        eased = list[bool]()
        error = attempt(lambda: eased.append(filling.ease()), "filling the gap")
        return error is None and eased == [True]

    def _after_step(self, filling: LocalFilling, seconds: float) -> None:
        error = attempt(lambda: filling.stepped(seconds), "reading the fill")
        if error is not None:
            filling.end_with(error)

    def _remember(self, request: InfillRequest | EditRequest, result: InfillResult) -> None:
        gap = _only_gap(request)
        if gap is not None and request.document is not None and (fill := result.choices[0].fills[0].text):
            self._answers.remember(request.document, *gap, fill)

    def _free_memory(self) -> None:
        self._prefixes.clear()
        if self._checkpoint is not None:
            self._checkpoint.denoiser.release()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _only_gap(request: InfillRequest | EditRequest) -> tuple[str, str] | None:
    """The text before and after the gap of a request that has one."""
    if isinstance(request, EditRequest):
        return None
    gaps = [index for index, segment in enumerate(request.segments) if isinstance(segment, Masked)]
    if len(gaps) != 1:
        return None
    texts = [segment.text if isinstance(segment, Fixed) else "" for segment in request.segments]
    return "".join(texts[: gaps[0]]), "".join(texts[gaps[0] :])


def _prefix_bytes(device: torch.device) -> int:
    """The default bound of the prefix cache."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory // 16)
    return 256 * 2**20
