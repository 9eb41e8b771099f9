"""The MultiModel: the paper's body with modality nets and commands."""

from t2t_lite import registry
from t2t_lite.models.body import Body
from t2t_lite.models.model import Model


@registry.models.register
class MultiModel(Model):
    """The network of "One Model To Learn Them All" (section 2), built from hparams for the given problems."""

    def make_body(self) -> Body:
        """See Model.make_body."""
        return Body(self.hparams, name="body")
