using System.Data.Common;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore.Query;

namespace EfEnvelope.Querying;

/// <summary>Prints <c>&lt;encrypted&gt;</c> for the parameters of encrypted columns.</summary>
internal sealed class EnvelopeQueryStringFactory(IRelationalQueryStringFactory inner) : IRelationalQueryStringFactory
{
    public string Create(DbCommand command)
    {
        PrintedValues.Hide(command);
        return inner.Create(command);
    }
}
