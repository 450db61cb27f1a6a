"""Folders as the Hugging Face Hub has them: a model.safetensors, and a config.json that says what it is."""

import importlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import spec
from densenet_torch.timm import TimmMethods
from spec.files import replacing

if TYPE_CHECKING:
    from densenet_torch.model import ConvNet

WEIGHTS, CONFIG = "model.safetensors", "config.json"


class HubMethods(TimmMethods):
    """The methods of huggingface_hub's PyTorchModelHubMixin; nothing but the Hub itself needs that package."""

    @classmethod
    def from_pretrained(cls, name: str | Path, *, network: str | Path | None = None, **download: Any) -> "ConvNet":
        """The model of a folder, or of a repository on the Hub, in inference mode.

        Its model.safetensors is read as from_file reads it: timm's and torchvision's weights will do, and `network`
        names a variant or a config file where these leave more than one answer. `download` are arguments of
        huggingface_hub.snapshot_download (revision, token, cache_dir ...).
        """
        from densenet_torch.files import from_file

        folder = Path(name)
        if not folder.is_dir():
            folder = _downloaded(str(name), {"allow_patterns": [WEIGHTS, CONFIG], **download})
        return from_file(folder / WEIGHTS, network).eval()

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes the folder: the weights with all that from_pretrained needs, and a config.json such as timm's."""
        from densenet_torch.interop import export_weights

        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise spec.SpecError(f"{folder} cannot be a folder to save in: {error.strerror}") from None
        spec.save(folder / WEIGHTS, self.network, export_weights(self))
        config = {
            "architecture": self.network.name,
            "num_classes": self.num_classes,
            "num_features": self.num_features,
            "pretrained_cfg": self.pretrained_cfg,
            "config": self.network.config.model_dump(mode="json"),  # type: ignore[union-attr]
        }
        with replacing(folder / CONFIG) as beside:
            beside.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    def push_to_hub(self, name: str, *, private: bool | None = None, **commit: Any) -> Any:
        """Uploads that folder to a repository, "user/name", which is made where there is none.

        `commit` are arguments of huggingface_hub.HfApi.upload_folder (commit_message, revision, create_pr ...).
        """
        api = _hub(name).HfApi(token=commit.pop("token", None))
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            repository = api.create_repo(name, private=private, exist_ok=True)
            return api.upload_folder(repo_id=repository.repo_id, folder_path=folder, **commit)


def _downloaded(name: str, arguments: dict[str, Any]) -> Path:
    hub = _hub(name)
    try:
        return Path(hub.snapshot_download(name, **arguments))
    except Exception as error:  # any of a dozen kinds: no such repository, no access, no network
        found = str(error).strip().partition("\n")[0]
        raise spec.SpecError(f"{name} is no folder here, and the Hub does not give it: {found}") from error


def _hub(name: str) -> Any:
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError:
        raise spec.SpecError(
            f"{name} is no folder here, and the Hub needs huggingface_hub: pip install huggingface_hub"
        ) from None
