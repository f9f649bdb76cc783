"""Verify whether any figure foretells what a batch will gain, in an invented world or on the store's own batches."""

from prefect import flow, get_run_logger

from schemas.profile import load_profile
from schemas.studies import AnySubject, InventedWorld
from tasks.progress import ended
from tasks.verify import verify_predictors


@flow(name="verify", flow_run_name="verify-{subject.kind}")
def verify(subject: AnySubject = InventedWorld(), profile: str = "embedded") -> str:
    """Return the path of a page that says which figures foretell what training on a batch gains, and how surely.

    Args:
        subject: Subject of the verification: an invented world with known likelihoods, or the store's own batches.
        profile: Profile that says where to run: a name in profiles/, or a YAML file.
    """
    headline, page = verify_predictors(load_profile(profile), subject)
    get_run_logger().info(headline)
    return ended(headline, page)
