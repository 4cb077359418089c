"""From the settings of a data set to its images. Only what they need is imported."""

from resexp.config.settings import CifarConfig, DataConfig, FolderConfig, ShapesConfig
from resexp.data.dataset import Dataset
from resexp.errors import UserError


def load(config: DataConfig) -> Dataset:
    """Read or generate a data set. Raises UserError that says where files are missing or damaged."""
    if isinstance(config, CifarConfig):
        try:
            from resexp.data import cifar
        except (ImportError, RuntimeError) as error:  # compiled for another version of torch
            why = str(error).splitlines()[0]
            raise UserError(
                f"data={config.name}: torchvision does not fit torch ({why}); install both again"
            ) from error
        return cifar.load(config)
    if isinstance(config, FolderConfig):
        from resexp.data import folder

        return folder.load(config)
    assert isinstance(config, ShapesConfig)
    from resexp.data import shapes

    return shapes.load(config)
