"""From the settings of a data set to its images. Only what they need is imported."""

from resexp.config.settings import DataConfig, FolderConfig, OfficialConfig, ShapesConfig
from resexp.data.dataset import Dataset


def load(config: DataConfig) -> Dataset:
    """Read or generate a data set. Raises UserError that says where files are missing or damaged."""
    if isinstance(config, OfficialConfig):
        from resexp.data import official

        return official.load(config)
    if isinstance(config, FolderConfig):
        from resexp.data import folder

        return folder.load(config)
    assert isinstance(config, ShapesConfig)
    from resexp.data import shapes

    return shapes.load(config)
